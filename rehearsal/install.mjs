// What rehearsals need and nobody depends on: exact versions (runtimes/package.json, tools/package.json), installed without scripts, once for each such
// list, into a cache folder that clones share: ZEROPIPE_CACHE, or one under the user's.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const cache = process.env.ZEROPIPE_CACHE ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'zeropipe')

/** The path of a file in a package of that list, 'runtimes' or 'tools'. */
function installed (list, path) {
  const listed = fileURLToPath(new URL(list, import.meta.url))
  const lock = readFileSync(join(listed, 'package-lock.json'))
  const folder = join(cache, `${list}-${createHash('sha256').update(lock).digest('hex').slice(0, 16)}`)
  if (!existsSync(folder)) install(listed, folder)
  return join(folder, 'node_modules', path)
}

/** Puts them there in one step: somebody else may be at it too. */
function install (listed, folder) {
  mkdirSync(cache, { recursive: true })
  const own = mkdtempSync(`${folder}-`)
  console.log(`installing ${folder} (once)`)
  cpSync(listed, own, { recursive: true })
  try {
    execFileSync('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], { cwd: own, stdio: 'inherit' })
    renameSync(own, folder)
  } catch (error) {
    rmSync(own, { recursive: true })
    if (!existsSync(folder)) throw error
  }
}

/** A file of one of the tools. */
export const tool = path => installed('tools', path)

const node = version => ({
  program: () => installed('runtimes', `node-${version}/bin/node`),
  run: version === 22 ? ['--disable-warning=ExperimentalWarning'] : [],
  test: ['--test']
})

/** Every runtime that we promise to run under: where its program is, and what stands before the file of a program, or of tests. */
export const runtimes = {
  'node-20': node(20),
  'node-22': node(22),
  'node-24': node(24),
  'node-26': node(26),
  bun: {
    program: () => installed('runtimes', '@oven/bun-linux-x64/bin/bun'),
    run: [],
    test: ['test', '--timeout', '120000']
  },
  deno: {
    program: () => installed('runtimes', '@deno/linux-x64-glibc/deno'),
    run: ['run', '--allow-ffi', '--allow-read', '--allow-env'], // as the README says
    test: ['test', '--allow-all', '--v8-flags=--expose-gc']
  }
}
