'use strict'

// What users hold: the default pipe, its members by name, and pipe() for more; checked options, events, and which session they belong to. In one
// file because each file costs a tenth of loading. The path of a job out: push -> lib/session.js -> lib/push_end.js -> lib/packer.js ->
// src/binding/push_end.rs. In: src/binding/pull_end.rs -> lib/unpacker.js -> lib/loop.js or lib/handlers.js. A request:
// lib/requests.js -> lib/push_end.js; its reply: lib/repliers.js -> lib/packer.js.

const { Promise, nextTick, process, unmocked } = require('./lib/runtime.js')
const { AsyncResource } = unmocked('node:async_hooks') ?? require('node:async_hooks')
const { EventEmitter } = unmocked('node:events') ?? require('node:events')

let loaded = null

/**
 * The rest of us, loaded when a pipe is first used: a program that imports us and does nothing else
 * hardly notices (docs/performance.md). All of it at once: a process whose pipes are open reads no
 * code any more, whatever becomes of the package's folder, or of its file descriptors.
 */
function parts () {
  return loaded ??= load()
}

function load () {
  try {
    const errors = require('./lib/errors.js')
    const engine = require('./lib/engine.js')
    const all = {
      abort: require('./lib/abort.js'),
      engine,
      errors,
      handlers: require('./lib/handlers.js'),
      loop: require('./lib/loop.js'),
      options: require('./lib/options.js'),
      repliers: require('./lib/repliers.js'),
      session: require('./lib/session.js')
    }
    const warning = engine.warning()
    if (warning !== undefined) errors.warn('ZEROPIPE_DUPLICATE', warning)
    return all
  } catch (error) {
    const [why] = error.message.split('\n')
    const text = `zeropipe can't read the rest of itself, which it does at its first use: ${why}. The next call tries again; ` +
      'await ready() at the start of a program whose package may be moved away later'
    throw Object.assign(new Error(text, { cause: error }), { code: 'ERR_ZEROPIPE_NOT_LOADED' })
  }
}

/** `PipeEvents` in index.d.ts. */
const EVENTS = ['listening', 'join', 'leave', 'refused', 'unreachable', 'dead']

/** Bun and Deno name a version of libuv too, for the sake of those who ask, and have none that works. */
const hasLibuv = process.versions.uv !== undefined && process.versions.bun === undefined && process.versions.deno === undefined

/** A pipe of its own: one session, from the first call to its close. */
const own = (options, wake) => new (parts().engine.NativePipe)(options, wake, hasLibuv)
/** The pipe that all threads share: a new session after each close. */
const shared = (options, wake) => parts().engine.NativePipe.shared(options, wake, hasLibuv)

/**
 * Makes a pipe. Options that are wrong are an error of every call, not of this one: whoever awaits is told.
 * `readOptions` is called when the pipe is first used.
 *
 * The parentheses make V8 compile the function at once instead of parsing it twice, which saves a
 * thirtieth of loading.
 */
const makePipe = (function makePipe (readOptions, makeNative) {
  const events = new EventEmitter()
  /**
   * Listeners run in the context in which the pipe was made, as those of a server of Node do; not
   * in that of whoever happened to use it first.
   */
  const origin = new AsyncResource('zeropipe:pipe')
  const emit = (name, event) => origin.runInAsyncScope(events.emit, events, name, event)
  const isShared = makeNative === shared
  let options
  let session = null

  function enter () {
    if (session === null || (isShared && session.isClosed)) {
      const { Session } = parts().session
      options ??= readOptions()
      session = new Session(options, makeNative, (name, event) => name === 'dead' ? dead(event) : emit(name, event), job => push(job))
    }
    return session
  }

  function enterEnd (end) {
    const session = enter()
    if (!session.options.ends.includes(end)) {
      throw invalidOption(`this pipe has no ${end} end: give it one with pipe({ ${end}: … })`)
    }
    return session
  }

  function push (job, callOptions) {
    if (callOptions === undefined && session !== null) {
      const accepted = session.pushFast(job)
      if (accepted !== null) return accepted
    }
    return pushSlowly(job, callOptions)
  }

  /** Not async: of many that wait, each would make promises of its own. */
  function pushSlowly (job, callOptions) {
    try {
      const signal = callOptions === undefined ? undefined : parts().options.pushOptions(callOptions).signal
      return enterEnd('push').push(job, signal)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  function pull (first, second) {
    if (typeof first === 'function') return pullByHandler(first, second)
    let loop
    try {
      loop = parts().loop
    } catch (error) {
      return failing(error)
    }
    const { Loop, shapes } = loop
    const enterPull = () => enterEnd('pull')
    try {
      const { batch, info, ...others } = parts().options.loopOptions(first)
      if (second !== undefined) throw parts().options.notBehindOptions(second)
      if (batch !== undefined && info) throw invalidOption('options batch and info can\'t be combined')
      return new Loop(enterPull, batch !== undefined ? shapes.batch(batch) : info ? shapes.informed : shapes.job, others)
    } catch (error) {
      return new Loop(() => { throw error }, shapes.job, {})
    }
  }

  async function pullByHandler (handler, given) {
    const callOptions = parts().options.handlerOptions('pull(handler)', given)
    const session = await enterToHandle('pull', callOptions)
    const { Handlers } = parts().handlers
    await new Handlers(session, 'pull', handler, callOptions, deadSoon).start()
  }

  function request (job, callOptions) {
    try {
      return enterEnd('request').request(job, callOptions === undefined ? undefined : parts().options.requestOptions(callOptions))
    } catch (error) {
      return Promise.reject(error)
    }
  }

  async function reply (handler, given) {
    if (typeof handler !== 'function') throw parts().options.noHandler(handler, given)
    const callOptions = parts().options.handlerOptions('reply', given)
    const session = await enterToHandle('reply', callOptions)
    const { Repliers } = parts().repliers
    await new Repliers(session, handler, callOptions, deadSoon, event => nextTick(emit, 'refused', event)).start()
  }

  async function enterToHandle (end, { signal }) {
    parts().abort.throwIfAborted(signal)
    const session = enterEnd(end)
    await parts().abort.aborting(session.open(end), signal)
    return session
  }

  function dead (event) {
    if (emit('dead', event)) return
    const { messageOf, warn } = parts().errors
    const why = messageOf(event.error)
    warn('ZEROPIPE_DEAD', `job ${event.id} is dead after ${event.attempt} ${event.attempt === 1 ? 'attempt' : 'attempts'}: ${why}`)
  }

  /** In a tick of its own: a listener that throws must not stop the handlers. */
  function deadSoon (event) {
    nextTick(dead, event)
  }

  async function ready (given) {
    const { pullers, pushers, repliers, requesters, signal } = parts().options.readyOptions(given)
    parts().abort.throwIfAborted(signal)
    const session = enter()
    /** By the end that they connect to. */
    const wanted = { push: pullers, pull: pushers, request: repliers, reply: requesters }
    const asked = Object.keys(wanted).filter(end => wanted[end] !== undefined)
    asked.forEach(enterEnd)
    // A pipe of one address doesn't say which ends are meant; to ask for the peers of one does.
    const { ends, isSingle } = session.options
    const opens = !isSingle ? ends : asked.length > 0 ? asked : ['push', 'pull']
    await parts().abort.aborting(Promise.all(opens.map(end => session.open(end))), signal)
    await parts().abort.aborting(joined(session, asked.map(end => [end, wanted[end]]), signal), signal)
  }

  /** Resolves when that many peers of each end are connected. */
  async function joined (session, wanted, signal) {
    const isEnough = () => {
      const stats = session.native.stats()
      return wanted.every(([end, count]) => stats[end].peers.length >= count)
    }
    const forget = parts().abort.onAbort(signal, () => session.tellWatchers())
    session.hold()
    for (const [end] of wanted) session.watchdogs[end].expect()
    try {
      while (!session.isClosed && !signal?.aborted && !isEnough()) await session.change()
      if (session.isClosed) throw session.closedError()
    } finally {
      session.release()
      for (const [end] of wanted) session.watchdogs[end].unexpect()
      forget()
    }
  }

  async function drain (given) {
    const { signal } = parts().options.drainOptions(given)
    await enter().drain(signal)
  }

  async function close (given) {
    const isUnused = isShared && (session === null || session.isClosed)
    if (isUnused && given === undefined) return
    const { linger } = parts().options.closeOptions(given)
    if (isUnused) return
    await enter().close(linger)
  }

  function stats () {
    // What is still in the slab counts as well.
    session?.pushEnds.forEach(end => end.flush())
    return session === null ? nothing() : session.native.stats()
  }

  const pipe = {
    push,
    pull,
    request,
    reply,
    ready,
    drain,
    stats,
    close,
    on: (name, listener) => { checkListener(name, listener); events.on(name, listener); return pipe },
    once: (name, listener) => { checkListener(name, listener); events.once(name, listener); return pipe },
    off: (name, listener) => { checkListener(name, listener); events.off(name, listener); return pipe }
  }
  if (Symbol.asyncDispose !== undefined) pipe[Symbol.asyncDispose] = () => close()
  return pipe
})

/** What `pull` gives when there is no loop to give. */
// eslint-disable-next-line require-yield -- it has nothing to yield
async function * failing (error) {
  throw error
}

/** Throws, as a listener of what never happens would wait for ever. */
function checkListener (name, listener) {
  if (!EVENTS.includes(name) || typeof listener !== 'function') throw parts().options.noListener(name, listener, EVENTS)
}

function invalidOption (text) {
  const { code, makeError } = parts().errors
  return makeError(code.INVALID_OPTION, text)
}

/** The stats of a pipe that nobody has used yet. */
function nothing () {
  const outgoing = () => ({ bound: [], peers: [], queued: 0, queuedBytes: 0, inFlight: 0, inFlightBytes: 0, done: 0, redelivered: 0, dead: 0 })
  const incoming = () => ({ bound: [], peers: [], received: 0 })
  return { push: outgoing(), pull: incoming(), request: outgoing(), reply: incoming() }
}

/** See index.d.ts. */
const pipe = options => makePipe(() => parts().options.pipeOptions(options), own)
const defaultPipe = makePipe(() => parts().options.pipeOptions(), shared)

module.exports = defaultPipe
// One by one and in this form, so that import { push } works in every runtime.
exports = module.exports
exports.push = defaultPipe.push
exports.pull = defaultPipe.pull
exports.request = defaultPipe.request
exports.reply = defaultPipe.reply
exports.ready = defaultPipe.ready
exports.drain = defaultPipe.drain
exports.stats = defaultPipe.stats
exports.close = defaultPipe.close
exports.on = defaultPipe.on
exports.once = defaultPipe.once
exports.off = defaultPipe.off
exports.pipe = pipe
exports.default = defaultPipe
