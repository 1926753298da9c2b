'use strict'

const { process, unmocked } = require('./runtime.js')
const { isNativeError } = unmocked('node:util/types') ?? require('node:util/types')
const { hint } = require('./engine.js')
const { show } = require('./misuse.js')

/** The codes of ours that are given here; the engine has more (`src/error.rs`). */
const code = Object.freeze({
  CLOSED: 'ERR_ZEROPIPE_CLOSED',
  INVALID_ENDPOINT: 'ERR_ZEROPIPE_INVALID_ENDPOINT',
  INVALID_JOB: 'ERR_ZEROPIPE_INVALID_JOB',
  INVALID_OPTION: 'ERR_ZEROPIPE_INVALID_OPTION',
  MESSAGE_TOO_LARGE: 'ERR_ZEROPIPE_MESSAGE_TOO_LARGE',
  JOB_FAILED: 'ERR_ZEROPIPE_JOB_FAILED',
  TIMEOUT: 'ERR_ZEROPIPE_TIMEOUT',
  UNSUPPORTED: 'ERR_ZEROPIPE_UNSUPPORTED',
  PROTOCOL: 'ERR_ZEROPIPE_PROTOCOL',
  INTERNAL: 'ERR_ZEROPIPE_INTERNAL'
})

/** The one place where errors are made. */
function makeError (code, text) {
  return Object.assign(new Error(text), { code })
}

/** An error that the engine told. */
function fromEngine ({ code, text }) {
  return makeError(code, code === 'EADDRINUSE' ? text + hint() : text)
}

/** Of any realm, as test runners have some. */
const isError = thrown => thrown instanceof Error || isNativeError(thrown)

/** So deep errors are looked for in errors, and so many of each. */
const DEPTH = 3
const MOST = 10

const UNTOLD = 'no reason that can be told'

/**
 * What is said of anything that was thrown, which may be anything: what it says itself, if that can
 * be told.
 */
function messageOf (thrown, depth = DEPTH) {
  try {
    return said(thrown, depth)
  } catch {
    return isNativeError(thrown) ? UNTOLD : show(thrown, UNTOLD)
  }
}

function said (thrown, depth) {
  if (typeof thrown === 'string') return thrown
  if (thrown === null || (typeof thrown !== 'object' && typeof thrown !== 'function')) return String(thrown)
  const own = ownWords(thrown)
  const others = depth > 0 ? partsOf(thrown).slice(0, MOST).map(part => messageOf(part, depth - 1)) : []
  if (others.length > 0) return `${own === '' ? '' : `${own}: `}${others.join('; ')}`
  return own
}

/** Its message; or its text, if it has one of its own; or what it looks like. */
function ownWords (thrown) {
  const { message } = thrown
  if (typeof message === 'string' && (message !== '' || isError(thrown))) return message
  if (isError(thrown) && message !== undefined) return typeof message === 'object' ? show(message) : String(message)
  const text = typeof thrown.toString === 'function' ? String(thrown) : ''
  return text === '' || /^\[object .*\]$/.test(text) ? show(thrown) : text
}

/** The errors that an AggregateError or a SuppressedError is made of. */
function partsOf (thrown) {
  if (Array.isArray(thrown.errors)) return thrown.errors
  return isError(thrown) && 'suppressed' in thrown ? [thrown.error, thrown.suppressed] : []
}

/** The code of what was thrown, if it has one that is a string. */
function codeOf (thrown) {
  try {
    return typeof thrown?.code === 'string' ? thrown.code : ''
  } catch {
    return ''
  }
}

const count = jobs => `${jobs} ${jobs === 1 ? 'job' : 'jobs'}`

/** What is said of accepted jobs, and of open requests, that were given up. */
function gaveUp (jobs, where, requests = 0) {
  const parts = []
  if (jobs > 0) parts.push(`${jobs} accepted ${jobs === 1 ? 'job' : 'jobs'} that no worker took`)
  if (requests > 0) parts.push(`${requests} open ${requests === 1 ? 'request' : 'requests'} that nobody answered`)
  return `gave up ${parts.join(' and ')} (${where})`
}

/** What is said when the system has not sent what counts as delivered. */
function mayBeLost (workers, where) {
  return `some of what ${workers === 1 ? '1 worker' : `${workers} workers`} took last may be lost (${where}): it ` +
    'acknowledges nothing, and the system has not been able to send all of it'
}

/** A process warning of ours. */
function warn (code, text) {
  process.emitWarning(text, { type: 'ZeropipeWarning', code })
}

module.exports = { code, codeOf, count, makeError, fromEngine, gaveUp, mayBeLost, messageOf, warn }
