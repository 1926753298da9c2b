'use strict'

/** Every code of ours that can reach a user; the README's table lists them. */
const code = Object.freeze({
  CLOSED: 'ERR_ZEROPIPE_CLOSED',
  INVALID_ENDPOINT: 'ERR_ZEROPIPE_INVALID_ENDPOINT',
  INVALID_JOB: 'ERR_ZEROPIPE_INVALID_JOB',
  INVALID_OPTION: 'ERR_ZEROPIPE_INVALID_OPTION',
  MESSAGE_TOO_LARGE: 'ERR_ZEROPIPE_MESSAGE_TOO_LARGE',
  INTERNAL: 'ERR_ZEROPIPE_INTERNAL'
})

/** The one place where errors are made. */
function makeError (code, text) {
  return Object.assign(new Error(text), { code })
}

/** What helps where the system's own words don't. */
const cures = {
  EADDRINUSE: 'another process pushes here; let the worker bind: pipe({ push: { connect }, pull: { bind } })'
}

/** An error that the engine told. */
function fromEngine ({ code, text }) {
  return makeError(code, cures[code] === undefined ? text : `${text} (${cures[code]})`)
}

const count = jobs => `${jobs} ${jobs === 1 ? 'job' : 'jobs'}`

/** What is said of accepted jobs that were given up. */
const gaveUp = (jobs, where) => `gave up ${jobs} accepted ${jobs === 1 ? 'job' : 'jobs'} that no worker took (${where})`

/** A process warning of ours. */
function warn (code, text) {
  process.emitWarning(text, { type: 'ZeropipeWarning', code })
}

module.exports = { code, count, makeError, fromEngine, gaveUp, warn }
