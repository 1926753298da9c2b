// How the package finds the engine for the platform it runs on: built beside it, in a package of its own, or not at all.
import assert from 'node:assert/strict'
import { execFile, spawnSync } from 'node:child_process'
import { chmodSync, copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { isDeno, isNode, ownArgs } from './helpers/runtime.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const binary = readdirSync(root).find(name => name.endsWith('.node'))
const { platform, arch } = process

/** A project that has installed the package, but no binary for it. */
function project (t) {
  const directory = mkdtempSync(join(tmpdir(), 'zeropipe-project-'))
  t.after(() => rmSync(directory, { recursive: true, force: true }))
  const modules = join(directory, 'node_modules')
  for (const name of ['index.js', 'package.json', 'lib']) cpSync(join(root, name), join(modules, 'zeropipe', name), { recursive: true })
  /** Installs the package of a binary, which is this file if there is one; its path. */
  const install = (name, file) => {
    const at = join(modules, name)
    const path = join(at, `${name}.node`)
    mkdirSync(at)
    writeFileSync(join(at, 'package.json'), JSON.stringify({ name, version: '0.1.0', main: `${name}.node` }))
    if (file === undefined) writeFileSync(path, 'no binary at all, but more text than the header of one has: '.repeat(4))
    else copyFileSync(file, path)
    return path
  }
  /**
   * What `require` says there; as if on another platform, if one is told, with arguments for the
   * runtime, as another user, or by a `command` that the runtime and its arguments follow.
   */
  const load = async ({ platform, arch, execArgv = [], command = [] } = {}) => {
    const says = (name, value) => value === undefined ? '' : `Object.defineProperty(process, '${name}', { value: '${value}' })\n`
    const file = join(directory, 'program.cjs')
    writeFileSync(file, `${says('platform', platform)}${says('arch', arch)}
      try { console.log(JSON.stringify({ members: Object.keys(require('zeropipe')) })) }
      catch ({ code, message }) { console.log(JSON.stringify({ code, message })) }`)
    const [program, ...args] = [...command, process.execPath, ...ownArgs, ...execArgv, file]
    chmodSync(directory, 0o755)
    return JSON.parse((await promisify(execFile)(program, args, { cwd: directory })).stdout)
  }
  return { directory, modules, install, load }
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

/**
 * Checks what an import that has failed says: what it fits, and that it gives no advice that does
 * not fit.
 */
function advises ({ code, message }, cure) {
  assert.equal(code, 'ERR_ZEROPIPE_UNSUPPORTED')
  assert.match(message, new RegExp(`^zeropipe can't run on ${platform} ${arch}: `))
  assert.match(message, cure)
  assert.doesNotMatch(message, /rustup/)
}

test('without a binary the error says that optional dependencies are missing, and how to get them', async t => {
  advises(await project(t).load(), /--include=optional/)
})

test('binaries for other platforms only: node_modules is from another machine', async t => {
  const { install, load } = project(t)
  install('zeropipe-plan9-mips') // none of ours
  install('zeropipe-win32-arm64-msvc')
  advises(await load(), /from another machine, it has zeropipe-win32-arm64-msvc: .*npm install --os=/)
})

test('a package without its binary is to be installed again', async t => {
  const { install, load } = project(t)
  rmSync(install(own))
  advises(await load(), /but not the binary in it.*npm install --force/)
})

test('a damaged binary is to be installed again', { skip: platform !== 'linux' && 'the words are those of Linux' }, async t => {
  const { install, load } = project(t)
  const path = install(own)
  advises(await load(), /damaged or for another platform.*npm install --force.*ELF header/)
  writeFileSync(path, '')
  advises(await load(), /damaged or for another platform.*npm install --force.*too short/)
})

/** Root may read everything, but for what it gives up. */
const withoutRights = process.getuid?.() === 0 ? ['setpriv', '--bounding-set=-all', '--inh-caps=-all'] : []
test('a binary that may not be read is to be made readable', { skip: (platform !== 'linux' || isDeno) && 'users and their rights as on Linux; Deno asks for rights of its own before' }, async t => {
  const { install, load } = project(t)
  chmodSync(install(own, join(root, binary)), 0o000)
  advises(await load({ command: withoutRights }), /may not read.*chmod -R a\+rX/)
})

const mount = ['unshare', '--map-root-user', '--mount', 'sh', '-c', 'mount -t tmpfs -o noexec tmpfs node_modules && cp -r copy/* node_modules && exec "$0" "$@"']
const cannotMount = platform !== 'linux' || spawnSync('unshare', ['--map-root-user', '--mount', 'sh', '-c', 'mount -t tmpfs tmpfs /mnt']).status !== 0
test('from a folder that nothing may be run from it is to be installed elsewhere', { skip: cannotMount && 'this user can\'t mount anything here' }, async t => {
  const { directory, modules, install, load } = project(t)
  install(own, join(root, binary))
  cpSync(modules, join(directory, 'copy'), { recursive: true })
  advises(await load({ command: mount }), /noexec.*install it elsewhere/)
})

test('a process that may load no addons is to be allowed to', { skip: !isNode && 'flags of Node' }, async t => {
  const { install, load } = project(t)
  install(own, join(root, binary))
  advises(await load({ execArgv: ['--no-addons'] }), /without --no-addons/)
})

const words = [
  ['/lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.34\' not found (required by zeropipe.node)', /C library .* is older/],
  ['Error loading shared library ld-linux-x86-64.so.2: No such file or directory', /another C library/],
  ['Error relocating zeropipe.node: __res_init: symbol not found', /another C library/],
  ['libc.musl-x86_64.so.1: cannot open shared object file: No such file or directory', /another C library/],
  ['dlopen(zeropipe.node): mach-o file, but is an incompatible architecture (have \'x86_64\', need \'arm64\')', /another processor/],
  ['dlopen(zeropipe.node): code signature invalid', /macOS does not trust/],
  ['\\\\?\\C:\\zeropipe.node is not a valid Win32 application.', /damaged or for another platform/],
  ['Requires ffi access to "/zeropipe.node", run again with the --allow-ffi flag', /--allow-ffi/],
  ['/resources/app.asar/node_modules/zeropipe-linux-x64-gnu/zeropipe.node: cannot open shared object file: Not a directory', /asarUnpack/],
  ['/zeropipe.node: undefined symbol: napi_create_function', /Node-API/],
  ['/zeropipe.node: cannot open shared object file: Too many open files', /ulimit -n/],
  ['something that nobody has said yet', /npm install --force/]
]
for (const [message, cure] of words) {
  test(`"${message.slice(0, 60)}" gets the cure that fits`, async () => {
    const { explain, names } = { ...(await import('../lib/load_failure.js')).default, ...(await import('../lib/runtime.js')).default }
    const error = explain([Object.assign(new Error(message), { code: 'ERR_DLOPEN_FAILED' })], names)
    assert.equal(error.code, 'ERR_ZEROPIPE_UNSUPPORTED')
    assert.match(error.message, cure)
    assert.ok(error.message.includes(message), 'what the system says is told as well')
  })
}

test('on a platform that there is no binary for the error says how to build one', async t => {
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
  // Each in words, or bundlers would not find it.
  const required = readFileSync(join(root, 'lib/runtime.js'), 'utf8').matchAll(/case '(.*)': return \{ engine: require\('zeropipe-(.*)'\) \}/g)
  assert.deepEqual([...required].map(([, name, same]) => name === same && name).toSorted(), packages.toSorted())
})
