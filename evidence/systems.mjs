// What is compared. Each system is two programs with the same arguments and the same lines on stdout;
// evidence/crate/src/main.rs lists them.

import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

import { Program } from './program.mjs'

class System {
  constructor (name, command) {
    this.name = name
    this.command = command
  }

  pull (args, jobs = Infinity) {
    return new Program([...this.command('pull'), 'pull', ...args.map(String)], jobs)
  }

  push (args) {
    return new Program([...this.command('push'), 'push', ...args.map(String)], 0)
  }
}

export function crate ({ binary, version }) {
  return Object.assign(new System(`\`zeromq\` ${version}`, () => [binary]), { choosesThreads: true })
}

/** undefined if it isn't installed. */
export function libzmq () {
  const version = load('zeromq', 'version')
  return version && new System(`libzmq ${version}`, script('libzmq'))
}

/** undefined if it isn't built. */
export function zeropipe () {
  return load('../index.js', 'push') && new System('zeropipe', script('zeropipe'))
}

const here = file => fileURLToPath(new URL(file, import.meta.url))
const script = name => end => [process.execPath, here(`${name}-${end}.mjs`)]

/** An export of a module as text; read in a process of its own, because an addon that doesn't fit may end it. */
function load (module, name) {
  const code = `process.stdout.write(String(require('${module}').${name}))`
  const options = { cwd: here('.'), encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'], timeout: 10_000 }
  try {
    return execFileSync(process.execPath, ['-e', code], options)
  } catch {
    return undefined
  }
}
