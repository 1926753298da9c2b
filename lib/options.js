'use strict'

const { Buffer, Set, process } = require('./runtime.js')
const { isSignal } = require('./abort.js')
const { endpointProblem } = require('./engine.js')
const { code, makeError, messageOf } = require('./errors.js')
const { adviceOnEndpoint, adviceOnOptions, describe, show, suggest } = require('./misuse.js')

const DEFAULT_ENDPOINT = {
  jobs: { bind: 'tcp://127.0.0.1:7777', connect: 'tcp://localhost:7777' },
  requests: { bind: 'tcp://127.0.0.1:7778', connect: 'tcp://localhost:7778' }
}
/** The ends of a pipe, each with the pattern that it belongs to and whether a single address means that it binds. */
const ENDS = {
  push: { pattern: 'jobs', binds: true },
  pull: { pattern: 'jobs', binds: false },
  request: { pattern: 'requests', binds: false },
  reply: { pattern: 'requests', binds: true }
}
const MEBIBYTE = 1 << 20
/** A slab's bytes and a frame's ends are counted in 31 bits. */
const MAX_MESSAGE_SIZE = 2 ** 31 - 1

const DEFAULTS = {
  highWaterMark: { messages: 100_000, bytes: 64 * MEBIBYTE },
  maxMessageSize: 64 * MEBIBYTE,
  linger: Infinity,
  maxAttempts: 20,
  ackTimeout: Infinity,
  heartbeat: { interval: 5_000, timeout: 15_000 },
  identity: ''
}

function invalid (name, value, wanted) {
  return makeError(code.INVALID_OPTION, `option ${name} is ${show(value)}: it must be ${wanted}`)
}

/**
 * An object literal, or what is as good as one, of whatever realm: nothing stands between it and
 * the end of its prototype chain but the prototype of all objects. A module's namespace is one too.
 */
function isPlain (value) {
  if (value === null || typeof value !== 'object') return false
  const prototype = Object.getPrototypeOf(value)
  if (prototype !== null && Object.getPrototypeOf(prototype) !== null) return false
  const tag = value[Symbol.toStringTag]
  return tag === undefined || tag === 'Module'
}

/**
 * The options of `what`, each read once: a plain object with no other keys than `known`, or
 * nothing.
 */
function read (value, known, what) {
  const found = Object.create(null)
  if (value === undefined) return found
  let isOptions
  try {
    isOptions = isPlain(value)
    if (isOptions) for (const key of Object.keys(value)) found[key] = value[key]
  } catch (error) {
    throw Object.assign(makeError(code.INVALID_OPTION, `the options of ${what} can't be read: ${messageOf(error)}`), { cause: error })
  }
  if (!isOptions) {
    throw makeError(code.INVALID_OPTION, `${describe(value)} was given where the options of ${what} are expected: ${adviceOnOptions(value, what, known)}`)
  }
  for (const key of Object.keys(found)) {
    if (!known.includes(key)) throw makeError(code.INVALID_OPTION, `there is no option ${JSON.stringify(key)} in ${what}${suggest(key, known)}`)
  }
  return found
}

/** A number between two others, or the default. */
function number (name, value, otherwise, least, most, isWhole = true) {
  if (value === undefined) return otherwise
  if (typeof value === 'number' && value >= least && value <= most && (!isWhole || Number.isInteger(value))) return value
  throw invalid(name, value, `a ${isWhole ? 'whole ' : ''}number from ${least} to ${most}`)
}

function signal (value) {
  if (value !== undefined && !isSignal(value)) throw invalid('signal', value, 'an AbortSignal')
  return value
}

function endpoint (value, connects) {
  if (typeof value !== 'string') {
    throw makeError(code.INVALID_ENDPOINT, `${typeof value === 'object' ? describe(value) : show(value)} is no endpoint: ${adviceOnEndpoint(value)}`)
  }
  const problem = endpointProblem(value, connects)
  if (problem !== null) throw makeError(code.INVALID_ENDPOINT, problem)
  return value
}

function endpoints (value, connects) {
  return (Array.isArray(value) ? Array.from(value) : [value]).map(one => endpoint(one, connects))
}

/**
 * An address is there or not: one that is `undefined` is likely to be one that somebody forgot to
 * set.
 */
function present (name, value) {
  if (value === undefined) throw makeError(code.INVALID_OPTION, `option ${name} is undefined: give it an address (is a variable not set?), or leave it out`)
  return value
}

/** Where one end binds and connects; `binds` says what a single address means. */
function sites (name, value, binds) {
  if (typeof value === 'string') return binds ? { bind: endpoints(value, false), connect: [] } : { bind: [], connect: endpoints(value, true) }
  const found = { bind: [], connect: [] }
  const given = read(value, ['bind', 'connect'], `pipe({ ${name} })`)
  // One of them may be undefined beside the other.
  for (const [way, addresses] of Object.entries(given)) {
    if (addresses !== undefined) found[way] = endpoints(addresses, way === 'connect')
    else if ((given.bind ?? given.connect) === undefined) present(`${name}.${way}`, undefined)
  }
  if (found.bind.length + found.connect.length === 0) throw invalid(name, {}, 'an address, or an object with bind or connect')
  return found
}

/** Where each end binds and connects when there is one address for all of them, or none: then the environment's or the default. */
function wholeSites (address) {
  const environment = {
    jobs: process.env.ZEROPIPE_ENDPOINT || undefined,
    requests: process.env.ZEROPIPE_REQUEST_ENDPOINT || process.env.ZEROPIPE_ENDPOINT || undefined
  }
  const found = {}
  for (const [end, { pattern, binds }] of Object.entries(ENDS)) {
    const single = address ?? environment[pattern]
    if (single !== undefined) endpoint(single, false)
    const { bind, connect } = single === undefined ? DEFAULT_ENDPOINT[pattern] : { bind: single, connect: single }
    found[end] = binds ? { bind: [bind], connect: [] } : { bind: [], connect: [connect] }
  }
  return found
}

/** Where those bind and connect that were given. */
function givenSites (options) {
  const found = {}
  for (const [end, { binds }] of Object.entries(ENDS)) {
    found[end] = end in options ? sites(end, present(end, options[end]), binds) : { bind: [], connect: [] }
  }
  return found
}

/** Everything about a pipe, complete, or an error with its code. */
function pipeOptions (given) {
  const address = typeof given === 'string' ? given : undefined
  const known = [...Object.keys(ENDS), 'highWaterMark', 'maxMessageSize', 'linger', 'maxAttempts', 'ackTimeout', 'heartbeat', 'identity']
  const options = read(address === undefined ? given : undefined, known, 'pipe')
  const highWaterMark = read(options.highWaterMark, ['messages', 'bytes'], 'highWaterMark')
  const heartbeat = read(options.heartbeat, ['interval', 'timeout'], 'heartbeat')
  const { identity = DEFAULTS.identity } = options
  if (typeof identity !== 'string' || Buffer.byteLength(identity) > 255) {
    throw invalid('identity', identity, 'a string of at most 255 bytes')
  }
  const maxAttempts = number('maxAttempts', options.maxAttempts, DEFAULTS.maxAttempts, 1, 2 ** 31)
  const maxMessageSize = number('maxMessageSize', options.maxMessageSize, DEFAULTS.maxMessageSize, 1, MAX_MESSAGE_SIZE)
  const isWhole = address !== undefined || Object.keys(ENDS).every(end => !(end in options))
  const ends = isWhole ? wholeSites(address) : givenSites(options)
  return {
    /** Which ends it has. */
    ends: Object.keys(ends).filter(end => ends[end].bind.length + ends[end].connect.length > 0),
    /** One address for all ends, so that it is the first call that tells which end is meant. */
    isSingle: isWhole,
    address: address ?? [...new Set(Object.values(ends).flatMap(({ bind, connect }) => [...bind, ...connect]))].join(', '),
    linger: number('linger', options.linger, DEFAULTS.linger, 0, Infinity, false),
    maxAttempts,
    maxMessageSize,
    native: {
      pushBind: ends.push.bind,
      pushConnect: ends.push.connect,
      pullBind: ends.pull.bind,
      pullConnect: ends.pull.connect,
      requestBind: ends.request.bind,
      requestConnect: ends.request.connect,
      replyBind: ends.reply.bind,
      replyConnect: ends.reply.connect,
      maxWaitingJobs: number('highWaterMark.messages', highWaterMark.messages, DEFAULTS.highWaterMark.messages, 1, 2 ** 32),
      maxWaitingBytes: number('highWaterMark.bytes', highWaterMark.bytes, DEFAULTS.highWaterMark.bytes, 1, 2 ** 48),
      maxMessageSize,
      maxAttempts,
      ackTimeout: number('ackTimeout', options.ackTimeout, DEFAULTS.ackTimeout, 1, Infinity, false),
      // For measurements of what acknowledgement costs: nobody else would want to go without.
      flow: process.env.ZEROPIPE_FLOW !== 'off',
      heartbeatInterval: number('heartbeat.interval', heartbeat.interval, DEFAULTS.heartbeat.interval, 0, 2 ** 31, false),
      heartbeatTimeout: number('heartbeat.timeout', heartbeat.timeout, DEFAULTS.heartbeat.timeout, 1, 2 ** 31, false),
      identity
    }
  }
}

/** The options of one call, checked: each name has its own check. */
function callOptions (what, given, checks) {
  const options = read(given, Object.keys(checks), what)
  const checked = {}
  for (const [name, check] of Object.entries(checks)) checked[name] = check(options[name])
  return checked
}

const pushOptions = given => callOptions('push', given, { signal })
const drainOptions = given => callOptions('drain', given, { signal })
const closeOptions = given => callOptions('close', given, { linger: value => number('linger', value, undefined, 0, Infinity, false) })
const readyOptions = given => callOptions('ready', given, {
  pullers: value => number('pullers', value, undefined, 0, 2 ** 31),
  pushers: value => number('pushers', value, undefined, 0, 2 ** 31),
  repliers: value => number('repliers', value, undefined, 0, 2 ** 31),
  requesters: value => number('requesters', value, undefined, 0, 2 ** 31),
  signal
})
const requestOptions = given => callOptions('request', given, {
  signal,
  timeout: value => number('timeout', value, undefined, 0, 2 ** 31 - 1, false)
})

/** What all forms of pull have. */
const pullChecks = {
  signal,
  prefetch: value => value === 'auto' ? value : number('prefetch', value, 'auto', 0, 2 ** 31)
}

const loopOptions = given => callOptions('pull', given, {
  ...pullChecks,
  batch: value => number('batch', value, undefined, 1, 2 ** 31),
  info: value => {
    if (value !== undefined && typeof value !== 'boolean') throw invalid('info', value, 'true or false')
    return value === true
  }
})
/** `what` is 'pull(handler)' or 'reply'. */
const handlerOptions = (what, given) => callOptions(what, given, {
  ...pullChecks,
  concurrency: value => number('concurrency', value, 1, 1, 2 ** 31)
})

/** The error of `pull(options, value)`. */
function notBehindOptions (value) {
  const advice = typeof value === 'function' ? 'the handler comes first: pull(handler, options)' : 'only a handler has something behind it: pull(handler, options)'
  return makeError(code.INVALID_OPTION, `${describe(value)} was given to pull behind its options: ${advice}`)
}

/** The error of `reply(value, second)`. */
function noHandler (value, second) {
  const advice = typeof second === 'function' ? 'it comes first: reply(handler, options)' : 'a function that is given a request and returns the reply'
  return makeError(code.INVALID_OPTION, `${describe(value)} was given where the handler of reply is expected: ${advice}`)
}

/** What those who listen for an event that there isn't are probably looking for. */
const INSTEAD = {
  close: 'close() resolves when the pipe is closed',
  data: 'jobs come by pull()',
  drain: 'drain() resolves when all is delivered',
  error: 'what goes wrong with a call rejects it',
  job: 'jobs come by pull()',
  message: 'jobs come by pull()',
  ready: 'ready() resolves when the pipe is open',
  request: 'requests come by reply()'
}

/** The error of `on(name, listener)`, of which one is none; `events` are all that there are. */
function noListener (name, listener, events) {
  if (events.includes(name)) return makeError(code.INVALID_OPTION, `${describe(listener)} was given where a listener of the event ${name} is expected: it must be a function`)
  if (typeof name !== 'string') return makeError(code.INVALID_OPTION, `${describe(name)} is no name of an event (there are: ${events.join(', ')})`)
  const instead = Object.hasOwn(INSTEAD, name) ? `, but ${INSTEAD[name]}` : ''
  return makeError(code.INVALID_OPTION, `there is no event ${JSON.stringify(name)}${instead}${suggest(name, events)}`)
}

module.exports = { noHandler, noListener, notBehindOptions, pipeOptions, pushOptions, drainOptions, closeOptions, readyOptions, loopOptions, handlerOptions, requestOptions }
