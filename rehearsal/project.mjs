// A user's project: empty, but for zeropipe from the tarballs that would be published, installed with scripts disabled and no toolchain in reach.
import assert from 'node:assert/strict'
import { execFile, execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { pack, root } from './pack.mjs'

/** The folder of all that is made here. */
export const place = mkdtempSync(join(tmpdir(), 'zeropipe-package-'))
export const remove = () => rmSync(place, { recursive: true, force: true })

const node = process.execPath
const npm = process.env.npm_execpath ?? execFileSync('sh', ['-c', 'readlink -f "$(command -v npm)"'], { encoding: 'utf8' }).trim()

export const packed = pack(place)
export const project = join(place, 'project')
write('package.json', '{ "private": true }')
install('install', packed.root.path, packed.native.path)
// What every TypeScript project has.
for (const name of ['@types/node', 'undici-types']) cpSync(join(root, 'node_modules', name), join(project, 'node_modules', name), { recursive: true })

/** Writes a file of the project; its path. */
export function write (name, text) {
  const path = join(project, name)
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, text)
  return path
}

/** Runs npm in the project; it and its Node are all that is there. */
export function install (...args) {
  execFileSync(node, [npm, ...args, '--offline', '--ignore-scripts', '--no-audit', '--no-fund', '--no-update-notifier'], {
    cwd: project,
    env: { PATH: dirname(node), HOME: place },
    stdio: ['ignore', 'ignore', 'inherit']
  })
}

/** After so many milliseconds a program hangs. */
const LIMIT = 60_000
let last = 0

/** Runs a program with nothing on its PATH: what it says. It fails if the program does. */
export async function run (program, args, { cwd = project, env = {} } = {}) {
  const endpoint = `ipc://${join(place, `${++last}.sock`)}`
  try {
    return await promisify(execFile)(program, args, {
      cwd,
      timeout: LIMIT,
      killSignal: 'SIGKILL',
      env: { PATH: place, HOME: place, ZEROPIPE_ENDPOINT: endpoint, ZEROPIPE_REQUEST_ENDPOINT: `${endpoint}.requests`, ...env }
    })
  } catch (error) {
    throw new Error(`${error.message}\n${error.stdout}`, { cause: error })
  }
}

/** The same for one that must not complain. */
export async function output (...args) {
  const { stdout, stderr } = await run(...args)
  assert.equal(stderr, '')
  return stdout
}
