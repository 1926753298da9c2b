'use strict'

// Which engine this copy of zeropipe uses. A program may have several copies, in the folders of
// several of its dependencies, and the binary of each is a library of its own: with a default pipe,
// inproc addresses and a thread of its own. So copies of one version share the engine of whichever
// was used first, in this thread or in one that has started it.

const { Set, engine, path, process, unmocked } = require('./runtime.js')
const { readFileSync } = unmocked('node:fs') ?? require('node:fs')
const { getEnvironmentData, setEnvironmentData } = unmocked('node:worker_threads') ?? require('node:worker_threads')
const { version } = require('../package.json')

/** Where threads find what the thread that has started them used: paths of binaries by version. */
const KEY = 'zeropipe'

const used = getEnvironmentData(KEY) ?? {}
const isFirst = used[version] === undefined
const own = pathOf(path)
const shared = share(used[version])
/** Whether this copy and all others of its version have the same engine. */
const isShared = isFirst || used[version] === own || shared !== undefined
if (isFirst) setEnvironmentData(KEY, { ...used, [version]: own })

/** The path of a binary, or how it was required: in some bundles there are no paths. */
function pathOf (path) {
  try {
    return require.resolve(path)
  } catch {
    return path
  }
}

/** The engine of that path, or undefined: it is ours, or can't be loaded any more. */
function share (path) {
  if (path === undefined || path === own) return undefined
  try {
    return require(path)
  } catch {
    return undefined
  }
}

/** The copies in use with which nothing is shared, if there are any. */
function strangers () {
  const others = Object.entries(used).filter(([other]) => other !== version || !isShared)
  return others.map(([version, path]) => `version ${version} (${path})`).join(' and ')
}

/** What is said when a copy is used beside others with which it shares nothing. */
function warning () {
  const others = strangers()
  // A thread need not say again what the one has said that started it.
  if (others === '' || (!isFirst && isShared)) return undefined
  return `this process uses zeropipe ${version} (${own}) beside ${others}: they share neither the default pipe nor inproc addresses. ` +
    'Let all dependencies use one version (npm ls zeropipe, npm dedupe)'
}

/** What an address that is in use may be due to: other copies within this process. */
function hint () {
  const others = strangers() || libraries().join(' and ')
  return others === '' ? '' : `; this process has another copy of zeropipe, ${others}, which may be who listens`
}

/** Binaries of ours that other threads have loaded, where the system tells (Linux). */
function libraries () {
  if (process.platform !== 'linux') return []
  const inUse = [own, used[version]]
  const paths = maps().match(/\/.*zeropipe[^/\n]*\.node$/gm) ?? []
  return [...new Set(paths)].filter(path => !inUse.includes(path))
}

/** What is mapped into this process, or nothing if it can't be read now, as without descriptors. */
function maps () {
  try {
    return readFileSync('/proc/self/maps', 'utf8')
  } catch {
    return ''
  }
}

/** @type {typeof engine & { hint: typeof hint, warning: typeof warning }} */
module.exports = { ...shared ?? engine, hint, warning }
