// How the package finds the engine for the platform it runs on: built beside it, in a package of its own, or not at all.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { ownArgs } from './helpers/runtime.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const binary = readdirSync(root).find(name => name.endsWith('.node'))
const { platform, arch } = process

/** A project that has installed the package, but no binary for it. */
function project (t) {
  const directory = mkdtempSync(join(tmpdir(), 'zeropipe-project-'))
  t.after(() => rmSync(directory, { recursive: true, force: true }))
  const modules = join(directory, 'node_modules')
  for (const name of ['index.js', 'package.json', 'lib']) cpSync(join(root, name), join(modules, 'zeropipe', name), { recursive: true })
  /** Installs the package of a binary, which is this file if there is one. */
  const install = (name, file) => {
    const at = join(modules, name)
    mkdirSync(at)
    writeFileSync(join(at, 'package.json'), JSON.stringify({ name, version: '0.1.0', main: `${name}.node` }))
    if (file === undefined) writeFileSync(join(at, `${name}.node`), 'no binary at all')
    else copyFileSync(file, join(at, `${name}.node`))
  }
  /** What `require` says there; as if on another platform, if one is told. */
  const load = async ({ platform, arch } = {}) => {
    const says = (name, value) => value === undefined ? '' : `Object.defineProperty(process, '${name}', { value: '${value}' })\n`
    const file = join(directory, 'program.cjs')
    writeFileSync(file, `${says('platform', platform)}${says('arch', arch)}
      try { console.log(JSON.stringify({ members: Object.keys(require('zeropipe')) })) }
      catch ({ code, message }) { console.log(JSON.stringify({ code, message })) }`)
    const args = [...ownArgs, file]
    return JSON.parse((await promisify(execFile)(process.execPath, args)).stdout)
  }
  return { install, load }
}

/** The package of the binary that was built here. */
const own = binary.replace(/^zeropipe\.(.*)\.node$/, 'zeropipe-$1')

test('the binary of the package for this platform is taken', async t => {
  const { install, load } = project(t)
  install(own, join(root, binary))
  assert.ok((await load()).members.includes('push'))
})

test('a binary that does not load here gives way to one that does', { skip: platform !== 'linux' }, async t => {
  const other = own.endsWith('-gnu') ? own.replace('-gnu', '-musl') : own.replace('-musl', '-gnu')
  // Whichever of the two is tried first: the one that works has the name of the other once.
  for (const [broken, sound] of [[own, other], [other, own]]) {
    const { install, load } = project(t)
    install(broken)
    install(sound, join(root, binary))
    assert.ok((await load()).members.includes('push'))
  }
  const { install, load } = project(t)
  for (const broken of [own, other]) install(broken)
  const { code, message } = await load()
  assert.equal(code, 'ERR_ZEROPIPE_UNSUPPORTED')
  assert.match(message, new RegExp(`${own}.*${other}|${other}.*${own}`, 's'), 'both are named, with what the system says of them')
})

test('without a binary the error names the platform, what is missing and how to build', async t => {
  const { code, message } = await project(t).load()
  assert.equal(code, 'ERR_ZEROPIPE_UNSUPPORTED')
  assert.match(message, new RegExp(`${platform} ${arch}`))
  assert.match(message, /optional dependencies/)
  assert.match(message, /rustup/)
})

test('so it does on a platform that there is no binary for', async t => {
  const { code, message } = await project(t).load({ platform: 'sunos', arch: 'riscv64' })
  assert.equal(code, 'ERR_ZEROPIPE_UNSUPPORTED')
  assert.match(message, /sunos riscv64: there is no binary for it/)
  assert.match(message, /rustup/)
})

test('every platform that binaries are built for is looked for, and no other', async () => {
  const { names } = await import('../lib/runtime.js').then(module => module.default)
  const packages = readdirSync(join(root, 'npm'))
  assert.ok(existsSync(join(root, 'npm', own.replace('zeropipe-', ''))))
  assert.deepEqual(Object.values(names).flat().toSorted(), packages.toSorted())
})
