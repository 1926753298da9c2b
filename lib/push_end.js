'use strict'

// Where jobs go out on this thread: whether the end is open, who waits for that or for room, and the slab at hand. A session has
// one for jobs and one for requests.

/** @typedef {InstanceType<typeof import('./session.js').Session>} Session */

const { ACCEPTED, Packer, checkJob, mostBytes } = require('./packer.js')
const { clearTimeout, setTimeout } = require('./runtime.js')
const { isDue, nextTurn } = require('./turn.js')
const { SMALL, WaitingLine } = require('./waiting_line.js')

/** So many requests leave together, however many more follow in the same tick. */
const PART = 32

/** A worker that waits for room counts as waiting for itself when nothing has moved for so many milliseconds. */
const LOCKED = 10

class PushEnd {
  /**
   * `refused(jobs)` gets back what was accepted after another thread had closed the pipe.
   *
   * @param {Session} session
   * @param {'push' | 'request'} name
   * @param {(jobs: Uint8Array[][]) => void} refused
   */
  constructor (session, name, refused) {
    this.session = session
    this.name = name
    this.refused = refused
    this.native = session.native.pushEnd(name)
    this.packer = null
    this.isOpen = false
    this.maxMessageSize = session.options.maxMessageSize
    this.waiting = new WaitingLine((entry, isForced) => this.isOpen && this.takeOrAwait(entry, isForced), session.options.native)
    this.unlockTimer = undefined
  }

  /** The way of almost every job: a promise at once, or null if it needs a closer look. */
  pushFast (job) {
    if (!this.isOpen || this.waiting.length > 0 || this.session.isClosing) return null
    return this.packer.push(job)
  }

  /** Takes a job behind an envelope if it is simple, and there is room at hand. */
  putFast (envelope, job) {
    return this.isOpen && this.waiting.length === 0 && this.packer.putBehind(envelope, job)
  }

  /** Takes a job now, or when there is room: a promise. Throws what is wrong with it. */
  push (job, signal) {
    // So many of these may come that each is to cost little.
    if (signal === undefined && !this.isReady()) return this.began(this.waiting.length, this.pack(job))
    const checked = checkJob(job, this.maxMessageSize)
    if (this.isReady() && this.packer.put(checked)) return isDue() ? nextTurn() : ACCEPTED
    const { length } = this.waiting
    return this.began(length, signal === undefined ? this.packChecked(checked) : this.waiting.join(checked, signal).accepted)
  }

  /**
   * Takes a checked job now, or when there is room: then its entry in the line of those who wait.
   */
  enqueue (job) {
    return this.isReady() && this.packer.put(job) ? null : this.began(this.waiting.length, this.waiting.join(job))
  }

  /**
   * Gives what it is given. If nobody waited `before`, somebody does now: the process stays, and
   * the line is served when it can be.
   */
  began (before, joined) {
    if (before > 0) return joined
    // Requests do so themselves.
    if (this.name === 'push') {
      this.session.hold()
      this.waiting.emptied().then(() => this.session.release())
    }
    if (this.isOpen) this.waiting.serve()
    else this.session.open(this.name).catch(() => {}) // all that wait are refused with the reason
    return joined
  }

  pack (job) {
    const bytes = mostBytes(job)
    const isSimple = bytes >= 0 && bytes <= SMALL && bytes <= this.maxMessageSize
    return isSimple ? this.waiting.packFrame(job, bytes) : this.packChecked(checkJob(job, this.maxMessageSize))
  }

  packChecked (job) {
    return job.cost > SMALL ? this.waiting.join(job).accepted : this.waiting.pack(job.frames, job.bytes, job.cost)
  }

  /** Whether a job can be taken now, if there is room. */
  isReady () {
    return this.isOpen && this.waiting.length === 0
  }

  /** The engine has opened it. */
  opened () {
    // Requests come in bursts, as replies do, and nobody goes on before there is one: the end of the tick is soon enough. Of many, some go
    // ahead: then both sides work at the same time.
    const way = this.name === 'push' ? { idle: this.native.idleWord() } : { part: PART }
    this.packer = new Packer(this.native, this.maxMessageSize, { ...way, refused: this.refused })
    this.isOpen = true
    this.waiting.serve()
  }

  /** It can't be opened, or takes no more: whoever waits is told. */
  refuse (error) {
    this.isOpen = false
    clearTimeout(this.unlockTimer)
    this.waiting.refuse(error)
  }

  flush () {
    this.packer?.flush()
  }

  takeOrAwait (entry, isForced) {
    if (entry.take(this.packer, isForced)) return true
    if (this.unlockTimer === undefined) this.unlockLater()
    this.session.watchdogs[this.name].begin()
    this.packer.flush()
    this.native.awaitRoom()
    // Jobs may have left between the two: then nobody would wake us.
    return entry.take(this.packer, false)
  }

  /**
   * A worker that pushes to its own pipe, and waits for room that only it could make, would wait for ever. So where nothing but
   * our own busy loops can take jobs, and nothing moves, one more is taken over the mark, again and again.
   */
  unlock (before) {
    this.unlockTimer = undefined
    if (this.waiting.length === 0 || !this.isOpen) return
    const progress = this.native.ownProgress()
    if (progress !== null && progress === before) this.waiting.force()
    this.unlockLater(progress ?? undefined)
  }

  unlockLater (before) {
    this.unlockTimer = setTimeout(() => this.unlock(before), LOCKED)
    // Whoever waits keeps the process by himself. Some test environments have timers that are no
    // objects.
    this.unlockTimer.unref?.()
  }
}

module.exports = { PushEnd }
