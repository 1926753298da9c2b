'use strict'

const { process, unmocked } = require('./runtime.js')
const { isNativeError } = unmocked('node:util/types') ?? require('node:util/types')
const { hint } = require('./engine.js')

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

/** What is said of anything that was thrown, which may be anything. */
function messageOf (thrown) {
  try {
    return String(isError(thrown) ? thrown.message : thrown)
  } catch {
    return 'no reason that can be told'
  }
}

/** The code of what was thrown, if it has one that is a string. */
function codeOf (thrown) {
  try {
    return isError(thrown) && typeof thrown.code === 'string' ? thrown.code : ''
  } catch {
    return ''
  }
}

const count = jobs => `${jobs} ${jobs === 1 ? 'job' : 'jobs'}`

/** What is said of accepted jobs that were given up. */
const gaveUp = (jobs, where) => `gave up ${jobs} accepted ${jobs === 1 ? 'job' : 'jobs'} that no worker took (${where})`

/** A process warning of ours. */
function warn (code, text) {
  process.emitWarning(text, { type: 'ZeropipeWarning', code })
}

module.exports = { code, codeOf, count, makeError, fromEngine, gaveUp, messageOf, warn }
