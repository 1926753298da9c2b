'use strict'

// Says once, as a process warning, that something has waited for 3 s and may do so for ever: for a
// peer to connect, or for workers that take nothing. A timer runs only while somebody waits; what
// does not wait never sees this.

/** @typedef {InstanceType<typeof import('./session.js').Session>} Session */

const { Map, clearInterval, clearTimeout, setInterval, setTimeout } = require('./runtime.js')
const { isFirstToSay } = require('./engine.js')
const { count, warn } = require('./errors.js')

/** How long anything may wait silently. */
const PATIENCE = 3_000
/** So often in that time it is looked whether something has moved. */
const LOOKS = 6
/** So many bytes within a look are more than heartbeats. */
const MUCH = 4096
/** Of so many addresses it is kept why nobody is connected, and of each so many reasons. */
const MOST_REASONS = 4

/** So many peers are named. */
const SOME = 3

/** Whom an end waits for. */
const PEER = { push: 'worker', pull: 'pusher', request: 'replier', reply: 'requester' }
/** The code is printed before the text: whoever counts it in an output should count one. */
const HIDE = 'to hide this, give its code to node --disable-warning'

/**
 * Each thing once in a process, on however many of its pipes and threads it happens. `kind` tells
 * apart what may be said of one address.
 */
function warnOnce (kind, { options: { address } }, text) {
  if (isFirstToSay(`${kind} ${address}`)) warn('ZEROPIPE_WAITING', `${text} (${HIDE})`)
}

/** Looks after one end of a pipe, on one thread. */
class Watchdog {
  /**
   * `isPulling()` tells whether any pipe of this thread has a job in hand.
   *
   * @param {Session} session
   * @param {'push' | 'pull' | 'request' | 'reply'} end
   * @param {() => boolean} isPulling
   */
  constructor (session, end, isPulling) {
    this.session = session
    this.end = end
    this.isPulling = isPulling
    this.connects = session.options.native[`${end}Connect`]
    this.timer = undefined
    /** How often somebody has begun to wait for a job. */
    this.waits = 0
    /** How many calls of `ready` wait for peers of this end. */
    this.expected = 0
    /** What there was at the last look, and for how many looks it has been so. */
    this.last = undefined
    this.quiet = 0
    /** Why nobody is connected, as far as it was told: lists by address. */
    this.reasons = new Map()
    /** Kinds of warnings of which no more is to be said. */
    this.isDone = { alone: false, stuck: false }
  }

  /** Whether jobs, or requests, go out at this end. */
  get isOut () {
    return this.end === 'push' || this.end === 'request'
  }

  /** Somebody begins to wait. */
  begin () {
    this.waits++
    if (this.timer === undefined) this.start()
  }

  /** `ready` waits for a peer of this end; to be taken back by `unexpect`. */
  expect () {
    this.expected++
    this.begin()
  }

  unexpect () {
    this.expected--
  }

  start () {
    if (this.timer !== undefined) return
    // A pool that listens is ordinary: whoever comes finds it.
    if (this.isDone.alone && (this.isDone.stuck || !this.isOut)) return
    if (!this.isOut && this.connects.length === 0) return
    if (this.session.isClosed) return
    this.last = this.state()
    this.quiet = 0
    this.timer = setInterval(() => this.look(), PATIENCE / LOOKS)
    // Whoever waits keeps the process by himself. Some test environments have timers that are no
    // objects.
    this.timer.unref?.()
  }

  stop () {
    clearInterval(this.timer)
    this.timer = undefined
  }

  /** No more of it: the pipe is closed. */
  close () {
    this.stop()
    this.isDone.alone = this.isDone.stuck = true
  }

  /** What happens to the connections of this end. */
  told (kind, { address, code, text }) {
    if (kind === 'join') return this.reasons.clear()
    if (kind === 'unreachable' || kind === 'refused') {
      this.failed(address, code.startsWith('ERR_') ? `${code}: ${text}` : code)
    }
    // Somebody may wait already.
    if (kind === 'leave') this.start()
  }

  failed (address, reason) {
    const others = (this.reasons.get(address) ?? []).filter(other => other !== reason)
    // Behind all others: what has come first is forgotten first.
    this.reasons.delete(address)
    this.reasons.set(address, [...others, reason].slice(-MOST_REASONS))
    if (this.reasons.size > MOST_REASONS) this.reasons.delete(this.reasons.keys().next().value)
  }

  look () {
    const isAlone = this.isAlone()
    if (!this.isNeeded(isAlone)) return this.stop()
    const state = this.state(isAlone)
    // A look, and not the time, is what counts: a thread that was busy for long has looked once.
    this.quiet = state === this.last ? this.quiet + 1 : 0
    this.last = state
    if (this.quiet < LOOKS) return
    if (!isAlone) this.saysStuck()
    else if (this.isWaiting() && this.session.native.alone(this.end) >= PATIENCE) this.saysAlone()
  }

  isAlone () {
    return this.session.native.alone(this.end) >= 0
  }

  /** Whether there is, or may soon be, something to be said. */
  isNeeded (isAlone) {
    if (this.isDone[isAlone ? 'alone' : 'stuck']) return false
    // `close` says so by itself, of all but requests.
    if (this.session.isClosing && this.end !== 'request') return false
    if (!isAlone) return this.isOut && this.waitsForRoom()
    // Accepting jobs costs too much to tell of each; so for those it is looked all the time.
    return this.isWaiting() || this.mayHaveJobs()
  }

  mayHaveJobs () {
    return this.end === 'push' && this.connects.length > 0
  }

  /** What changes if anything moves. */
  state (isAlone = this.isAlone()) {
    if (!this.isOut) return this.waits
    if (isAlone) return this.isWaiting() ? 'alone' : undefined
    const counts = this.outgoing()?.native.counts() ?? []
    const bytes = counts.pop()
    return `${counts} ${Math.floor(bytes / MUCH)}`
  }

  /** Whether somebody waits at this end for what its peers are to do. */
  isWaiting () {
    const { session, end } = this
    if (this.expected > 0 && this.connects.length > 0) return true
    if (!this.isOut) return session.waitsForJobs(end)
    if (end === 'request') return session.requests !== null && session.requests.count > 0
    // Whoever waits for delivery says so by himself.
    if (session.deliveries > 0) return false
    return this.waitsForRoom() || (this.mayHaveJobs() && session.undelivered() > 0)
  }

  waitsForRoom () {
    return this.outgoing()?.waiting.length > 0
  }

  /** Where jobs, or requests, go out; undefined before the first request. */
  outgoing () {
    return this.end === 'push' ? this.session.pushEnd : this.session.requests?.end
  }

  saysAlone () {
    this.isDone.alone = true
    this.stop()
    warnOnce(this.end, this.session, this.alone())
  }

  alone () {
    const { session, end } = this
    const peer = PEER[end]
    const open = end === 'request' ? session.requests?.count ?? 0 : 0
    if (open > 0) {
      return `${open} ${open === 1 ? 'request' : 'requests'} waiting for a replier to connect ` +
        `at ${this.where()}; the process stays until all are answered: bound that with the option ` +
        'linger of the pipe or timeout of request (milliseconds)'
    }
    const jobs = end === 'push' ? session.undelivered() + session.pushEnd.waiting.jobs : 0
    const what = jobs > 0 ? `push has ${count(jobs)} waiting` : `${end} waits`
    const advice = this.connects.length === 0
      ? 'start one'
      : `it goes on dialling: start the ${peer}, or give the address where it listens`
    const since = 'and for 3 s none has been connected'
    return `${what} for a ${peer}, ${since} at ${this.where()}; ${advice}`
  }

  /** The addresses of this end, and what is known of why nobody is connected. */
  where () {
    const { bound } = this.session.native.stats()[this.end]
    const places = [...bound, ...this.connects].join(', ')
    if (this.reasons.size === 0) return places
    const isOne = bound.length === 0 && this.connects.length === 1 && this.reasons.size === 1
    const reasons = [...this.reasons]
      .map(([address, own]) => `${isOne ? '' : `${address}: `}${own.join(', ')}`)
    return `${places} (${reasons.join('; ')})`
  }

  saysStuck () {
    this.isDone.stuck = true
    this.stop()
    const { peers } = this.session.native.stats()[this.end]
    const peer = PEER[this.end]
    const who = peers.length === 1 ? `the ${peer} that is` : `the ${peers.length} ${peer}s that are`
    const some = peers.slice(0, SOME).map(({ address }) => address).join(', ')
    const advice = this.isPulling()
      ? 'this process holds a job of its own meanwhile: if it comes from those who are to take ' +
        'these, each waits for the other; raise highWaterMark, or do not await push before the ' +
        'next job is pulled'
      : `a ${peer} has to ${this.end === 'push' ? 'pull' : 'call reply'}, and to finish what it ` +
        'has, before it is sent more, which is ordinary if its jobs take that long'
    warnOnce(`${this.end} stuck`, this.session, `${this.end} waits for room: ${who} connected ` +
      `(${some}${peers.length > SOME ? ', ...' : ''}) took no job and finished none for 3 s; ${advice}`)
  }
}

/**
 * Says after a while that jobs have yet to be delivered, for which `drain`, `close` or the end of
 * the process waits; `ifAlone` says that only a missing worker is worth a word. Returns what stops
 * it.
 *
 * @param {Session} session
 * @param {boolean} ifAlone
 */
function watchDelivery (session, ifAlone) {
  session.deliveries++
  const timer = setTimeout(complain, PATIENCE, session, ifAlone)
  timer.unref?.()
  return () => {
    session.deliveries--
    clearTimeout(timer)
    // Pushes may wait yet.
    session.watchdogs.push.start()
  }
}

/**
 * @param {Session} session
 * @param {boolean} ifAlone
 */
function complain (session, ifAlone) {
  const { peers } = session.native.stats().push
  if (ifAlone && peers.length > 0) return
  const jobs = session.undelivered() + session.pushEnd.waiting.jobs
  if (jobs === 0) return complainOfSending(session)
  const whom = peers.length === 0 ? 'a worker to connect' : 'a worker with room'
  warnOnce('delivery', session, `${count(jobs)} waiting at ${session.watchdogs.push.where()} ` +
    `for ${whom}; the process stays until all is delivered: bound that with the option linger ` +
    '(milliseconds)')
}

/**
 * `close` and the end of the process wait for that, too.
 *
 * @param {Session} session
 */
function complainOfSending (session) {
  const workers = session.native.sending()
  if (workers === 0) return
  warnOnce('sending', session, `${workers === 1 ? '1 worker does' : `${workers} workers do`} not read what ` +
    `${workers === 1 ? 'it was' : 'they were'} sent (${session.options.address}); the process stays until the ` +
    'system has sent it: bound that with the option linger (milliseconds)')
}

module.exports = { Watchdog, watchDelivery }
