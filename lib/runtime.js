'use strict'

// What zeropipe takes from outside, once, at the import: the parts of the runtime that it uses, and
// the engine (src/binding/) for this platform. They share a file because each file costs a tenth of
// loading.

/**
 * jest runs each file of tests in a sandbox, a realm of its own, where `process` is a copy and
 * modules of Node may be mocks. The classes of such modules are of the main realm there, which tells
 * a sandbox, and `vm` reaches the `process` of that realm.
 */
const main = require('node:buffer').Buffer instanceof Function ? undefined : require('node:vm').runInThisContext('process')

/** In a sandbox the module of Node that has this name (from Node 20.16 on), else undefined. */
const unmocked = name => main?.getBuiltinModule?.(name)

const { Buffer } = unmocked('node:buffer') ?? require('node:buffer')
const { existsSync } = unmocked('node:fs') ?? require('node:fs')
const { performance } = unmocked('node:perf_hooks') ?? require('node:perf_hooks')
const process = require('node:process')
const { clearInterval, clearTimeout, setImmediate, setInterval, setTimeout } = unmocked('node:timers') ?? require('node:timers')

// What replaces globals after the import (fake timers of test runners, polyfills) does not reach
// zeropipe, because no other file of lib/ nor index.js uses these as globals, which
// __test__/nothing-global-reaches-us.test.mjs checks. Where a module of Node has the same, it is
// taken from there: a global may have been replaced before the import too.
const { Map, Set, WeakMap, WeakRef } = globalThis

/** The promise of the language itself, whatever the global is. */
const Promise = /** @type {PromiseConstructor} */ ((async () => {})().constructor)

/** The copy's may have been replaced before the import. */
const { nextTick } = main ?? process

/** Calls `work`, which must not throw, as a microtask. */
async function microtask (work) {
  await undefined
  work()
}

/**
 * The names of the binaries for each platform. Of several, the first that loads is right: one for
 * glibc does not load where musl is.
 */
const names = {
  'darwin arm64': ['darwin-arm64'],
  'darwin x64': ['darwin-x64'],
  'linux arm': ['linux-arm-gnueabihf'],
  'linux arm64': ['linux-arm64-gnu', 'linux-arm64-musl'],
  'linux x64': ['linux-x64-gnu', 'linux-x64-musl'],
  'win32 arm64': ['win32-arm64-msvc'],
  'win32 x64': ['win32-x64-msvc']
}

/**
 * The engine from the package of that name, or why it does not load. The names are literals within
 * `try`, so that bundlers which can embed a binary find the one that is installed.
 */
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

/**
 * The same for a binary that was built in this folder. Some bundles have no `__dirname`. Looking
 * first is cheaper than a `require` that fails, which it does for everybody who has installed
 * zeropipe.
 */
function built (name) {
  const path = `${typeof __dirname === 'string' ? __dirname : '.'}/../zeropipe.${name}.node`
  try {
    return existsSync(path) ? { engine: require(path), path } : {}
  } catch (error) {
    return { error }
  }
}

/** @returns {{ engine: typeof import('../binding.d.ts'), path: string }} */
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
  clearInterval,
  clearTimeout,
  microtask,
  nextTick,
  now: performance.now.bind(performance),
  process,
  random: Math.random,
  setImmediate,
  setInterval,
  setTimeout,
  unmocked,
  engine,
  path,
  names
}
