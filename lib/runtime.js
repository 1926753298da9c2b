'use strict'

// What comes from outside, taken once, at the import: what we use of the runtime, and the engine (src/binding/) for this platform. In one file
// because each costs a tenth of loading.

const { Buffer } = require('node:buffer')
const { performance } = require('node:perf_hooks')
const process = require('node:process')
const { clearTimeout, setImmediate, setTimeout } = require('node:timers')

// Whatever replaces globals later (test runners fake timers, polyfills bring promises of their own) does not reach us: nothing else in lib/
// or index.js uses these as globals (__test__/nothing-global-reaches-us.test.mjs). What a module of Node has comes from there, for a global may
// have been replaced before the import too.
const { Map, Set, WeakMap, WeakRef } = globalThis

/** The promise of the language itself, whatever the global is. */
const Promise = (async () => {})().constructor

/**
 * In a sandbox, as jest makes one for each file of tests, what Node's own modules have is of another realm than ours, and `process` is a copy whose
 * `nextTick` may have been replaced before we came.
 */
const { nextTick } = Buffer instanceof Function ? process : require('node:vm').runInThisContext('process')

/** Calls `work`, which must not throw, when the promises that are resolved by now have gone on. */
async function microtask (work) {
  await undefined
  work()
}

/** What the file for each platform is called; of several, the first that loads is right: a binary for glibc does not load where musl is. */
const names = {
  'darwin arm64': ['darwin-arm64'],
  'darwin x64': ['darwin-x64'],
  'linux arm': ['linux-arm-gnueabihf'],
  'linux arm64': ['linux-arm64-gnu', 'linux-arm64-musl'],
  'linux x64': ['linux-x64-gnu', 'linux-x64-musl'],
  'win32 arm64': ['win32-arm64-msvc'],
  'win32 x64': ['win32-x64-msvc']
}

/** The first that loads, or undefined if there is none; those that are there and don't load say why in `problems`. */
function load (names, problems) {
  for (const name of names) {
    for (const path of [`../zeropipe.${name}.node`, `zeropipe-${name}`]) {
      try {
        return require(path)
      } catch (error) {
        if (error.code !== 'MODULE_NOT_FOUND') problems.push(error.message)
      }
    }
  }
}

function open () {
  const platform = `${process.platform} ${process.arch}`
  const problems = []
  const native = load(names[platform] ?? [], problems)
  if (native !== undefined) return native
  const missing = names[platform] === undefined
    ? 'there is no binary for it'
    : problems.length > 0 ? problems.join('; ') : 'npm has not installed its binary (was it told to leave out optional dependencies, or is node_modules from another machine?)'
  const text = `zeropipe can't run on ${platform}: ${missing}. ` +
    'To build it you need Rust (https://rustup.rs): clone the repository, run npm install there, and install that folder'
  throw Object.assign(new Error(text), { code: 'ERR_ZEROPIPE_UNSUPPORTED' })
}

module.exports = {
  Buffer,
  Map,
  Promise,
  Set,
  WeakMap,
  WeakRef,
  clearTimeout,
  microtask,
  nextTick,
  now: performance.now.bind(performance),
  process,
  random: Math.random,
  setImmediate,
  setTimeout,
  engine: open(),
  names
}
