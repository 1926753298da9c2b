'use strict'

// The life of one native pipe on this thread, from the first call to its close: what is open, who waits for what, and
// what keeps the process alive.

/** @import { Mail, NativeOptions, NativePipe } from '../binding.d.ts' */

const { aborting, throwIfAborted } = require('./abort.js')
const { code, count, fromEngine, gaveUp, makeError, mayBeLost, warn } = require('./errors.js')
const exit = require('./exit.js')
const { Map, Promise, Set, clearTimeout, nextTick, now, setImmediate, setTimeout } = require('./runtime.js')
const { PushEnd } = require('./push_end.js')
const { Requests } = require('./requests.js')
const { begin } = require('./turn.js')
const { Unpacker } = require('./unpacker.js')
const { Watchdog, watchDelivery } = require('./watchdog.js')

/** Bits of what the engine asks us to look at (`src/engine/event.rs`). */
const ROOM = 1
const JOBS = 2
const MAIL = 4
const RECALL = 8
const REPLIES = 16
const FAILURES = 32
const TIDY = 64

const ENDS = /** @type {const} */ (['push', 'pull', 'request', 'reply'])

class Session {
  /**
   * `makeNative(options, wake)` makes the native pipe; `tell(name, event)` is told what happens; `again(job)` pushes a
   * job that this session accepted too late.
   *
   * @param {ReturnType<typeof import('./options.js').pipeOptions>} options
   * @param {(options: NativeOptions, wake: (bits: number) => void) => NativePipe} makeNative
   * @param {(name: string, event: object) => void} tell
   * @param {(job: unknown) => Promise<void>} again
   */
  constructor (options, makeNative, tell, again) {
    this.options = options
    this.tell = tell
    this.again = again
    this.late = []
    this.native = makeNative(options.native, bits => loudly(() => this.look(bits)))
    this.pushEnd = new PushEnd(this, 'push', jobs => this.comeTooLate(jobs))
    /** Once there was one. */
    this.requests = null
    this.watchdogs = Object.fromEntries(ENDS.map(end => [end, new Watchdog(this, end, exit.isPulling)]))
    /** How many wait for all jobs to be delivered, and say so if that takes long. */
    this.deliveries = 0
    this.opening = { push: null, pull: null, request: null, reply: null }
    this.isClosing = false
    this.isClosed = false
    /** All connections of the closed pipe have ended. */
    this.isParted = false
    /** Our own close, if we made one; and the end, whoever made it. */
    this.closing = null
    this.until = Infinity
    this.lingerTimer = undefined
    /** @type {Promise<void>} */
    this.lingerOver = new Promise(resolve => { this.endLinger = resolve })
    /** @type {Promise<void>} */
    this.over = new Promise(resolve => { this.endOver = resolve })
    this.questions = new Map()
    this.lastQuestion = 0
    this.holds = 0
    /**
     * References to the loops and handler pools that take jobs. Weak to a loop that does not wait: one that nobody holds any
     * more has been left without a word, and what it had is done when it is collected.
     */
    this.users = new Set()
    /** The loops that wait. */
    this.waitingLoops = new Set()
    /** The unpackers of loops that were left a moment ago. */
    this.leaving = new Set()
    /** How many unpackers have not settled their last job. */
    this.unsettled = 0
    /** Those who wait for `change`. */
    this.watchers = []
    exit.watch(this)
  }

  /** The way of almost every job: a promise at once, or null if it needs a closer look. */
  pushFast (job) {
    return this.pushEnd.pushFast(job)
  }

  /** Takes a job, now or when there is room: a promise. Throws what is wrong with it. */
  push (job, signal) {
    if (this.isClosing) throw this.closedError()
    throwIfAborted(signal)
    return this.pushEnd.push(job, signal)
  }

  /** Asks; resolves with the reply. */
  request (job, options) {
    if (this.isClosing) throw this.closedError()
    throwIfAborted(options?.signal)
    return this.asking().ask(job, options)
  }

  /** Opens an end, once; after a failure the next call tries again. */
  open (end) {
    if (this.isClosed) return Promise.reject(this.closedError())
    this.opening[end] ??= this.ask(id => this.native.open(end, id)).then(
      () => {
        this.outgoing(end)?.opened()
        if (end === 'push') this.watchdogs.push.start()
      },
      error => {
        this.opening[end] = null
        this.outgoing(end)?.refuse(error)
        throw error
      })
    return this.opening[end]
  }

  outgoing (end) {
    if (end === 'push') return this.pushEnd
    return end === 'request' ? this.asking().end : undefined
  }

  /** The requests of this thread, from the first of them on. */
  asking () {
    return this.requests ??= new Requests(this)
  }

  /** The ends where something may have gone out. */
  get pushEnds () {
    return this.requests === null ? [this.pushEnd] : [this.pushEnd, this.requests.end]
  }

  /** Resolves when everything pushed so far is delivered. */
  async drain (signal) {
    throwIfAborted(signal)
    const stopWatching = watchDelivery(this, true)
    try {
      await aborting(this.drainAll(), signal)
    } finally {
      stopWatching()
    }
  }

  /** See `Pipe.close` in index.d.ts. */
  close (linger = this.options.linger) {
    this.isClosing = true
    this.settleNow()
    this.shorten(linger)
    this.closing ??= this.isClosed ? Promise.resolve() : this.finish()
    return this.closing
  }

  /** A loop or handler pool starts to take jobs: an unpacker of its own, or null if it is too late for that. */
  join (user, end, prefetch, inOrder) {
    if (this.isClosed) return null
    this.users.add(user.reference)
    this.unsettled++
    return new Unpacker(this.native, end, prefetch, inOrder)
  }

  * eachUser () {
    for (const reference of this.users) {
      const user = reference.deref()
      if (user !== undefined) yield user
      else this.users.delete(reference)
    }
  }

  /** Whether somebody waits for jobs, or requests, that come in. */
  waitsForJobs (end) {
    for (const { unpacker } of this.eachUser()) if (unpacker?.end === end && unpacker.takers.length > 0) return true
    return false
  }

  /** It takes no more. How many jobs that had arrived are lost, because the pipe is closed. */
  leave (user) {
    this.users.delete(user.reference)
    return user.unpacker.release()
  }

  /** What a loop had in hand when it was left is done, if the process gets that far. */
  settleLater (unpacker) {
    this.leaving.add(unpacker)
    setImmediate(() => this.settle(unpacker))
  }

  /** The same at once, for all: the pipe closes, or the process ends in order. */
  settleNow () {
    for (const unpacker of this.leaving) this.settle(unpacker)
    for (const user of this.eachUser()) user.settleNow?.()
  }

  /** What it had in hand is done, and it is not needed any more. */
  settle (unpacker) {
    if (unpacker.isLeft) return
    this.leaving.delete(unpacker)
    unpacker.finish()
    this.unsettled--
    this.unwatchIfOver()
  }

  /** What nobody has begun with goes back: the process ends. */
  giveBack () {
    for (const { unpacker } of this.eachUser()) unpacker?.release()
  }

  /** What somebody has begun with stays unsettled for as long as its connection lives: the process ends. */
  abandon () {
    for (const unpacker of this.leaving) unpacker.abandon()
    for (const { unpacker } of this.eachUser()) unpacker?.abandon()
  }

  unwatchIfOver () {
    // Not at once: should the process end now, pushers are to be told before.
    if (this.isClosed && this.unsettled === 0) setTimeout(exit.unwatch, 1000, this).unref()
  }

  /** How many accepted jobs are not delivered, those still in the slab among them. */
  undelivered () {
    this.pushEnd.flush()
    return this.pushEnd.native.undelivered()
  }

  /** Resolves when a peer has come or gone, or the pipe is closed. */
  change () {
    return new Promise(resolve => { this.watchers.push(resolve) })
  }

  /** Jobs that were accepted when another thread had just closed the pipe. */
  comeTooLate (jobs) {
    this.isClosing = true
    this.late.push(...jobs)
    // Not within the call that accepted them.
    nextTick(() => this.pushLate())
  }

  /** Hands late jobs to the pipe that takes the closed one's place; where there is none, they are given up. */
  pushLate () {
    const jobs = this.late.splice(0)
    this.end()
    for (const job of jobs) this.again(job).catch(() => warn('ZEROPIPE_GAVE_UP', gaveUp(1, this.options.address)))
  }

  /** Keeps the process alive until `release`. */
  hold () {
    if (this.holds++ === 0) this.native.hold(true)
  }

  release () {
    if (--this.holds === 0) this.native.hold(false)
  }

  closedError () {
    return makeError(code.CLOSED, `the pipe ${this.options.address} is closed`)
  }

  /** Not async: what is pushed after the call, however soon, is not waited for. */
  drainAll () {
    const { isOpen, waiting } = this.pushEnd
    if (isOpen && waiting.length === 0) return this.askToDrain()
    if (this.opening.push === null) return Promise.resolve()
    if (this.isClosed) return Promise.reject(this.closedError())
    let drained
    // In line, behind the pushes that wait. If those are refused because the end can't open, nothing is left.
    const turn = waiting.mark(() => { drained = this.askToDrain() })
    return turn.then(() => drained, error => { if (this.isClosed) throw error })
  }

  /** Resolves when everything is delivered, and sent where that is all there is to know: the process ends. */
  async deliverAll () {
    await this.drainAll()
    await this.ask(id => this.native.awaitSent(id))
  }

  askToDrain () {
    this.pushEnd.flush()
    return this.ask(id => this.native.drain(id))
  }

  async finish () {
    const stopWatching = watchDelivery(this, false)
    // Pushes and requests that were made before still get in, if they do in time.
    await Promise.race([Promise.all(this.pushEnds.map(end => end.waiting.emptied())), this.lingerOver])
    this.pushEnds.forEach(end => end.flush())
    const finished = this.ask(id => this.native.close(Infinity, id))
    this.lingerOver.then(() => this.isClosed || this.ask(id => this.native.close(0, id)))
    this.over.then(stopWatching)
    // Not `over`: this may be awaited in a loop body, for which that would wait.
    await finished
  }

  /**
   * The engine has closed the pipe, and says what became of the jobs that were left.
   *
   * @param {Mail} mail
   */
  closed ({ givenUp, dropped, sending }) {
    // What has come before counts, though this mail was read with the bit of another, and their bits are yet to be looked at.
    this.requests?.serve()
    this.requests?.serveFailures()
    const open = this.requests?.count ?? 0
    const left = dropped + this.end()
    // Whoever asked for it says so.
    if (this.closing === null) return
    if (givenUp + open > 0) warn('ZEROPIPE_GAVE_UP', gaveUp(givenUp, this.options.address, open))
    if (sending > 0) warn('ZEROPIPE_GAVE_UP', mayBeLost(sending, this.options.address))
    if (left > 0) {
      warn('ZEROPIPE_GAVE_UP', `dropped ${count(left)} that had arrived and that nobody began with (${this.options.address})`)
    }
  }

  /** Bounds the close; the shortest linger counts. */
  shorten (linger) {
    const until = now() + linger
    if (this.isClosed || until >= this.until) return
    this.until = until
    clearTimeout(this.lingerTimer)
    // Longer than a timer can be set is for ever.
    if (linger === 0) this.endLinger()
    else if (linger < 2 ** 31) this.lingerTimer = setTimeout(this.endLinger, linger)
  }

  /** The engine is done with this pipe: everybody who still waits is told. How many jobs in hand are lost. */
  end () {
    if (this.isClosed) return 0
    this.isClosing = this.isClosed = true
    clearTimeout(this.lingerTimer)
    for (const watchdog of Object.values(this.watchdogs)) watchdog.close()
    this.pushEnd.refuse(this.closedError())
    this.requests?.refuse(this.closedError())
    let lost = 0
    for (const user of [...this.eachUser()]) lost += user.end()
    this.tellWatchers()
    this.endOver()
    this.unwatchIfOver()
    return lost
  }

  /** Asks the engine; the answer comes by mail. */
  ask (question) {
    if (this.isClosed) return Promise.reject(this.closedError())
    const id = ++this.lastQuestion
    this.hold()
    return new Promise((resolve, reject) => {
      this.questions.set(id, answer => {
        this.release()
        if (answer.code === '') resolve(answer)
        else reject(fromEngine(answer))
      })
      question(id)
    })
  }

  look (bits) {
    begin()
    // Replies first: what has come before the end of the pipe counts.
    if ((bits & REPLIES) !== 0) this.requests.serve()
    if ((bits & FAILURES) !== 0) this.requests.serveFailures()
    if ((bits & MAIL) !== 0) this.readMail()
    if ((bits & ROOM) !== 0) this.pushEnds.forEach(end => end.waiting.serve())
    if ((bits & JOBS) !== 0) for (const reference of this.users) reference.deref()?.unpacker?.serve()
    if ((bits & RECALL) !== 0) for (const { unpacker } of this.eachUser()) unpacker?.recall()
    if ((bits & TIDY) !== 0) this.native.tidy()
  }

  readMail () {
    for (const mail of this.native.mail()) {
      switch (mail.kind) {
        case 'answer':
          this.questions.get(mail.id)(mail)
          this.questions.delete(mail.id)
          this.leaveIfAnswered()
          break
        case 'closing': // perhaps by another thread
          this.isClosing = true
          break
        case 'closed':
          this.closed(mail)
          break
        case 'withheld':
          warn('ZEROPIPE_WAITING', `a job waits (${this.options.address}): every worker has held it for longer than ackTimeout, and holds it ` +
            'still. It goes to the next worker that connects, and is done when one of them finishes it after all')
          break
        case 'parted':
          this.isParted = true
          this.leaveIfAnswered()
          break
        default:
          // In a tick of its own: a listener that throws must not keep others from being told.
          nextTick(this.tell, mail.kind, toEvent(mail))
          this.watchdogs[mail.side]?.told(mail.kind, mail)
          this.tellWatchers()
      }
    }
  }

  /** Once it is over and every question is answered, the engine needs to know of us no more, nor we of it. */
  leaveIfAnswered () {
    if (this.isParted && this.questions.size === 0) this.native.leave()
  }

  tellWatchers () {
    for (const resolve of this.watchers.splice(0)) resolve()
  }
}

/** The engine's call swallows what is thrown in it: a bug of ours must not become a silent hang. */
function loudly (work) {
  try {
    work()
  } catch (error) {
    nextTick(() => { throw error })
  }
}

/**
 * An event as users see it.
 *
 * @param {Mail} mail
 */
function toEvent ({ kind, side, address, identity, flow, code, text, job, jobId, attempt }) {
  switch (kind) {
    case 'listening': return { end: side, address }
    case 'join': return { end: side, address, identity, flow }
    case 'leave': return { end: side, address, identity, flow, reason: text, code }
    case 'dead': return { job, id: jobId, attempt, error: makeError(code, text) }
    default: return { end: side, address, code, reason: text }
  }
}

module.exports = { Session }
