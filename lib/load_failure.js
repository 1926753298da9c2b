'use strict'

// Why there is no engine, and what helps: read when the import fails, and only then.

const { existsSync, readdirSync } = require('node:fs')
const { basename, dirname } = require('node:path')
const process = require('node:process')

const BUILD = 'To build it you need Rust (https://rustup.rs): clone the repository, run npm install there, and install that folder'
const REINSTALL = 'install it again: npm install --force zeropipe'

/**
 * What the system, or the runtime, says of a binary that is there and does not load, and the cure;
 * the first that fits counts. Systems say it in their own words: those of Linux (glibc and musl),
 * macOS and Windows.
 *
 * @type {[RegExp, string][]}
 */
const refusals = [
  [/ERR_DLOPEN_DISABLED|addons is disabled/, 'this process must not load native addons: run it without --no-addons, or with --allow-addons beside --permission'],
  [/Requires ffi access|NotCapable|--allow-ffi/, 'Deno must be allowed to load native addons: run it with --allow-ffi --allow-read --allow-env'],
  [/GLIBC(?:XX)?_[\d.]+' not found/, `the C library of this system is older than the binary needs: take a newer system or image. ${BUILD}`],
  [/\.asar[\\/]/, 'a native addon can\'t be loaded from within an asar archive: unpack it (asarUnpack: "**/*.node", or @electron-forge/plugin-auto-unpack-natives)'],
  [/failed to map segment|Operation not permitted/, 'programs can\'t be run from the folder where it is (a file system mounted with noexec?): install it elsewhere'],
  [/Permission denied|EACCES|EPERM|Access is denied/, 'this user may not read the file: give it that right, and to pass the folders above it (chmod -R a+rX node_modules)'],
  [/file too short|truncated|invalid ELF header|bad ELF|not a mach-o file|slice is not valid|not a valid Win32|Exec format|file header|no binary/i, `the file is damaged or for another platform: ${REINSTALL}`],
  [/incompatible architecture|wrong ELF class/, 'the binary is for another processor than this Node is: install with the Node that runs it (on Apple silicon: not one under Rosetta)'],
  [/code signature|library load disallowed/, 'macOS does not trust the file: sign it with your app, or allow it by the entitlement com.apple.security.cs.disable-library-validation'],
  [/ld-linux|libc\.so|libc\.musl|Error relocating|symbol not found/, `it is for another C library than this system has (glibc or musl): ${REINSTALL} on this system`],
  [/EMFILE|ENFILE|Too many open files/, 'this process has no file descriptor left: raise its limit (ulimit -n)'],
  [/self-register|napi_|undefined symbol|N-API/, 'this runtime lacks a part of Node-API: Node 20 or newer is needed']
]

/**
 * The same for a binary that is nowhere, by where and how we run.
 *
 * @type {[(names: string[]) => boolean, string | (() => string)][]}
 */
const absences = [
  [() => isSingleExecutable(), 'this is a single executable, in which a native addon can\'t be: install zeropipe beside it, and load it with createRequire(process.execPath)'],
  [() => isBundled(), 'it was bundled, and a native addon can\'t be: tell your bundler that zeropipe is external (Next.js: serverExternalPackages), and install it beside the bundle'],
  [() => modules.includes('.asar'), 'a native addon can\'t be loaded from within an asar archive: unpack it (asarUnpack: "**/*.node")'],
  [() => process.versions.pnp !== undefined, 'Yarn has not installed its binary: let it do so for this platform (supportedArchitectures in .yarnrc.yml), then run yarn install'],
  [names => names.some(name => found().includes(`zeropipe-${name}`)), `its package is there, but not the binary in it, or this user may not read it: ${REINSTALL}`],
  [() => found().length > 0, () => `node_modules is from another machine, it has ${found().join(' and ')}: install on the platform where it runs, or for it (npm install --os=${process.platform} --cpu=${process.arch})`],
  [() => true, 'its binary is not installed, as if optional dependencies were left out: npm install --include=optional, and no omit=optional in .npmrc']
]

function isSingleExecutable () {
  // Not there in older Nodes, nor in other runtimes.
  return process.getBuiltinModule?.('node:sea')?.isSea() === true
}

/** A bundle has neither our files nor our folder. */
function isBundled () {
  return typeof __filename !== 'string' || basename(__filename) !== 'load_failure.js' || !existsSync(__filename)
}

/** The folder where packages are installed beside us, if we are installed. */
const modules = typeof __dirname === 'string' ? dirname(dirname(__dirname)) : ''

/** Our packages of binaries that are there, for whatever platform. */
function found () {
  return basename(modules) === 'node_modules' ? readdirSync(modules).filter(name => /^zeropipe-(?:darwin|linux|win32)-/.test(name)) : []
}

/** What the errors of all attempts come to; `names` are the binaries by platform. */
function explain (errors, names) {
  const platform = `${process.platform} ${process.arch}`
  const text = `zeropipe can't run on ${platform}: ${reason(errors, names[platform])}`
  return Object.assign(new Error(text, { cause: errors[0] }), { code: 'ERR_ZEROPIPE_UNSUPPORTED' })
}

function reason (errors, names) {
  if (names === undefined) return `there is no binary for it. ${BUILD}`
  const refused = errors.filter(error => !isAbsence(error, names))
  if (refused.length === 0) {
    const [, cure] = absences.find(([holds]) => holds(names))
    return typeof cure === 'function' ? cure() : cure
  }
  const said = refused.map(({ code, message }) => `${code === undefined ? '' : `${code}: `}${message}`)
  const [, cure] = refusals.find(([words]) => said.some(text => words.test(text))) ?? [null, `the system does not say why in words that we know: ${REINSTALL}`]
  return `${cure} (${said.join('; ')})`
}

/** Whether a package was not found (a single executable knows none), and not what it needs. */
function isAbsence ({ code, message }, names) {
  return /MODULE_NOT_FOUND|UNKNOWN_BUILTIN_MODULE/.test(code) && names.some(name => message.includes(`zeropipe-${name}`))
}

module.exports = { explain, refusals }
