// Builds the program that puts the crate to the test, with the pinned version or with another one.

import { execFileSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const PINNED = fileURLToPath(new URL('crate', import.meta.url))
const TARGET = resolve(process.env.CARGO_TARGET_DIR ?? fileURLToPath(new URL('../target/evidence', import.meta.url)))
const REQUIREMENT = /(zeromq = \{ version = )"=[^"]*"/

export function build (version) {
  if (!version) return compile(PINNED)
  if (!/^\d+\.\d+\.\d+[\w.+-]*$/.test(version)) throw new Error(`not a version: ${version}`)
  const copy = mkdtempSync(join(tmpdir(), 'zeropipe-evidence-'))
  try {
    cpSync(PINNED, copy, { recursive: true })
    rewrite(copy, version)
    return compile(copy)
  } finally {
    rmSync(copy, { recursive: true, force: true })
  }
}

function compile (directory) {
  cargo(directory, 'build', '--release', '--locked')
  const suffix = process.platform === 'win32' ? '.exe' : ''
  return { binary: join(TARGET, 'release', `zeromq-evidence${suffix}`), version: locked(directory) }
}

function rewrite (directory, version) {
  const manifest = join(directory, 'Cargo.toml')
  writeFileSync(manifest, readFileSync(manifest, 'utf8').replace(REQUIREMENT, `$1"=${version}"`))
  cargo(directory, 'update', '-p', 'zeromq', '--precise', version)
}

function locked (directory) {
  const lock = readFileSync(join(directory, 'Cargo.lock'), 'utf8')
  return /name = "zeromq"\nversion = "([^"]+)"/.exec(lock.replaceAll('\r', ''))[1]
}

function cargo (directory, ...args) {
  const env = { ...process.env, CARGO_TARGET_DIR: TARGET }
  execFileSync('cargo', args, { cwd: directory, env, stdio: ['ignore', 'ignore', 'inherit'] })
}
