// What `npm install` runs in a clone: builds the engine (src/). Whoever installs zeropipe from the registry gets it built.
import { spawnSync } from 'node:child_process'

/** What the build needs besides Node, and how one comes by it. */
const needs = [
  ['cargo', 'Rust: install it from https://rustup.rs'],
  ...(process.platform === 'win32' ? [] : [['cc', 'a C compiler: install gcc or clang (Debian: apt install build-essential; macOS: xcode-select --install)']])
]

const missing = needs.filter(([command]) => spawnSync(command, ['--version'], { stdio: 'ignore' }).status !== 0)
if (missing.length > 0) {
  console.error('\nA clone of zeropipe is built from source, and this machine lacks something for that:')
  for (const [command, what] of missing) console.error(`- ${command}, which comes with ${what}`)
  console.error('Then run npm install again. (To only use zeropipe, none of this is needed: npm install zeropipe.)\n')
  process.exit(1)
}
console.log('zeropipe: building the engine with cargo; the first time takes a minute or two')
const { status } = spawnSync('npm', ['run', 'build'], { stdio: 'inherit', shell: process.platform === 'win32' })
process.exit(status ?? 1)
