'use strict'

// What comes from outside, taken once, at the import: what we use of the runtime, and the engine (src/binding/) for this platform. In one file
// because each costs a tenth of loading.

const { Buffer } = require('node:buffer')
const { existsSync } = require('node:fs')
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

/** What the binary for each platform is called; of several, the first that loads is right: one for glibc does not load where musl is. */
const names = {
  'darwin arm64': ['darwin-arm64'],
  'darwin x64': ['darwin-x64'],
  'linux arm': ['linux-arm-gnueabihf'],
  'linux arm64': ['linux-arm64-gnu', 'linux-arm64-musl'],
  'linux x64': ['linux-x64-gnu', 'linux-x64-musl'],
  'win32 arm64': ['win32-arm64-msvc'],
  'win32 x64': ['win32-x64-msvc']
}

/** The engine from the package of that name, or why it does not load: in words and within `try`, by which bundlers find those that are installed. */
function installed (name) {
  try {
    switch (name) {
      case 'darwin-arm64': return { engine: require('zeropipe-darwin-arm64') }
      case 'darwin-x64': return { engine: require('zeropipe-darwin-x64') }
      case 'linux-arm-gnueabihf': return { engine: require('zeropipe-linux-arm-gnueabihf') }
      case 'linux-arm64-gnu': return { engine: require('zeropipe-linux-arm64-gnu') }
      case 'linux-arm64-musl': return { engine: require('zeropipe-linux-arm64-musl') }
      case 'linux-x64-gnu': return { engine: require('zeropipe-linux-x64-gnu') }
      case 'linux-x64-musl': return { engine: require('zeropipe-linux-x64-musl') }
      case 'win32-arm64-msvc': return { engine: require('zeropipe-win32-arm64-msvc') }
      case 'win32-x64-msvc': return { engine: require('zeropipe-win32-x64-msvc') }
    }
  } catch (error) {
    return { error }
  }
}

/** The same for one that was built here. In some bundles there is no `__dirname`; to look is cheaper than a `require` that fails. */
function built (name) {
  const path = `${typeof __dirname === 'string' ? __dirname : '.'}/../zeropipe.${name}.node`
  try {
    return existsSync(path) ? { engine: require(path), path } : {}
  } catch (error) {
    return { error }
  }
}

function open () {
  const errors = []
  for (const name of names[`${process.platform} ${process.arch}`] ?? []) {
    for (const find of [built, installed]) {
      const { engine, error, path = `zeropipe-${name}` } = find(name)
      if (engine !== undefined) return { engine, path }
      if (error !== undefined) errors.push(error)
    }
  }
  throw require('./load_failure.js').explain(errors, names)
}

const { engine, path } = open()

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
  engine,
  path,
  names
}
