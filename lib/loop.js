'use strict'

// for await (const job of pull()): an iterator that ends, aborts and fails as iterators should, and answers from the
// slab at hand without a crossing.

/** @typedef {InstanceType<typeof import('./session.js').Session>} Session */

const { onAbort, reasonOf } = require('./abort.js')
const { Promise, WeakRef } = require('./runtime.js')
const { isDue, nextTurn } = require('./turn.js')

/** What a step of a loop gives, made from the first job it got; and how many jobs it could begin with, if not one. */
const shapes = {
  job: (unpacker, job) => job,
  informed: (unpacker, job) => ({ job, ...unpacker.info() }),
  batch: most => Object.assign((unpacker, job) => {
    const batch = [job]
    for (let next; batch.length < most && (next = unpacker.next()) !== undefined;) batch.push(next)
    return batch
  }, { slots: most })
}

const DONE = { value: undefined, done: true }

class Loop {
  /** `enter()` gives the session to pull from; `shape` is one of `shapes`. */
  constructor (enter, shape, { signal, prefetch }) {
    this.enter = enter
    this.shape = shape
    this.prefetch = prefetch
    /** @type {Session} */
    this.session = null
    this.reference = new WeakRef(this)
    /** Set from the first job that it may get to the last that it is done with. */
    this.unpacker = null
    /** Why it is over, until somebody has been told. */
    this.failures = []
    /** The calls of `next` that wait, in order. */
    this.waiting = []
    /** How many of them the unpacker knows of; each keeps the process alive. */
    this.awaited = 0
    this.take = job => {
      this.waitLess()
      // A promise on which somebody has waited for long is an old object, and V8 keeps what it refers to until it collects all garbage.
      this.waiting.shift().resolve({ value: this.shape(this.unpacker, this.unpacker.apart(job)), done: false })
    }
    if (signal?.aborted) this.failures.push(reasonOf(signal))
    this.isOver = this.failures.length > 0
    this.forgetSignal = onAbort(signal, reason => this.fail(reason))
  }

  next () {
    if (this.isOver) return this.finish()
    if (this.unpacker !== null) {
      // Whoever asks for the next job is done with those before it.
      this.unpacker.settle()
      const job = this.unpacker.next(this.unpacker.slots)
      if (job !== undefined) {
        const result = { value: this.shape(this.unpacker, job), done: false }
        return isDue() ? nextTurn().then(() => result) : Promise.resolve(result)
      }
    }
    return this.wait()
  }

  async return (value) {
    this.leave()
    return { value, done: true }
  }

  async throw (error) {
    this.leave()
    throw error
  }

  [Symbol.asyncIterator] () {
    return this
  }

  /**
   * Its user leaves it. The job in hand is done, but that is settled in a turn of its own: a throw that ends the process
   * comes first, and gives the job back.
   */
  leave () {
    this.end()
    if (this.unpacker !== null) this.session.settleLater(this.unpacker)
    this.unpacker = null
  }

  /** Ends the loop: those who wait are told that there is no more. How many jobs that had arrived are lost. */
  end () {
    if (this.isOver) return 0
    this.isOver = true
    this.forgetSignal()
    const waiting = this.dismiss()
    for (const { resolve } of waiting) resolve(DONE)
    return this.letGo(waiting.length > 0)
  }

  /** Ends the loop with an error, for those who wait or else for the next to ask. */
  fail (error) {
    if (this.isOver) return
    this.isOver = true
    this.forgetSignal()
    const waiting = this.dismiss()
    if (waiting.length === 0) this.failures.push(error)
    for (const { reject } of waiting) reject(error)
    this.letGo(waiting.length > 0)
  }

  /** Takes no more jobs. Whoever waits for one is done with those before it. How many that had arrived are lost. */
  letGo (hasWaited) {
    if (this.unpacker === null) return 0
    const lost = this.session.leave(this)
    if (hasWaited) this.settle()
    return lost
  }

  settle () {
    if (this.unpacker !== null) this.session.settle(this.unpacker)
    this.unpacker = null
  }

  /** Those who waited, who now don't any more. */
  dismiss () {
    while (this.awaited > 0) {
      this.unpacker.unwait(this.take)
      this.waitLess()
    }
    return this.waiting.splice(0)
  }

  /** Whether somebody has a job in hand, and does not ask for more. */
  get isBusy () {
    return this.unpacker !== null && this.unpacker.begun > 0 && this.awaited === 0
  }

  async finish () {
    // It has come back for more, so it is done with what it had.
    this.settle()
    if (this.failures.length > 0) throw this.failures.pop()
    return DONE
  }

  wait () {
    const promise = new Promise((resolve, reject) => { this.waiting.push({ resolve, reject }) })
    if (this.unpacker !== null) this.await()
    else if (this.session === null) this.start()
    return promise
  }

  waitLess () {
    if (--this.awaited === 0) this.session.waitingLoops.delete(this)
    this.session.release()
  }

  await () {
    if (this.awaited++ === 0) this.session.waitingLoops.add(this)
    this.session.hold()
    this.session.watchdogs.pull.begin()
    this.unpacker.wait(this.take)
  }

  async start () {
    try {
      this.session = this.enter()
      await this.session.open('pull')
    } catch (error) {
      // The next call tries again.
      this.session = null
      for (const { reject } of this.dismiss()) reject(error)
      return
    }
    if (this.isOver) return
    this.unpacker = this.session.join(this, 'pull', this.prefetch, true)
    if (this.unpacker === null) return this.end() // closed meanwhile
    this.unpacker.slots = this.shape.slots ?? 1
    for (let left = this.waiting.length; left > 0; left--) this.await()
  }
}

// As generators have it, where the runtime has it: for `await using`.
if (Symbol.asyncDispose !== undefined) {
  Loop.prototype[Symbol.asyncDispose] = async function () {
    await this.return()
  }
}

module.exports = { Loop, shapes }
