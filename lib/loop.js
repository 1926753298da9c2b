'use strict'

// for await (const job of pull()): an iterator that ends, aborts and fails as iterators should, and answers from the
// slab at hand without a crossing.

const { onAbort } = require('./abort.js')
const { isDue, nextTurn } = require('./turn.js')

/** What a step of a loop gives, made from the first job it got. */
const shapes = {
  job: (unpacker, job) => job,
  informed: (unpacker, job) => ({ job, ...unpacker.info() }),
  batch: most => (unpacker, job) => {
    const batch = [job]
    for (let next; batch.length < most && (next = unpacker.next()) !== undefined;) batch.push(next)
    return batch
  }
}

const DONE = { value: undefined, done: true }

class Loop {
  /** `enter()` gives the session to pull from; `shape` is one of `shapes`. */
  constructor (enter, shape, signal) {
    this.enter = enter
    this.shape = shape
    this.session = null
    /** Set while jobs come from there. */
    this.unpacker = null
    /** Why it is over, until somebody has been told. */
    this.failures = []
    /** The calls of `next` that wait, in order. */
    this.waiting = []
    /** How many of them the unpacker knows of; each keeps the process alive. */
    this.awaited = 0
    this.take = job => {
      this.awaited--
      this.session.release()
      this.waiting.shift().resolve({ value: this.shape(this.unpacker, job), done: false })
    }
    if (signal?.aborted) this.failures.push(signal.reason)
    this.isOver = this.failures.length > 0
    this.forgetSignal = onAbort(signal, reason => this.fail(reason))
  }

  next () {
    if (this.unpacker !== null) {
      const job = this.unpacker.next()
      if (job !== undefined) {
        const result = { value: this.shape(this.unpacker, job), done: false }
        return isDue() ? nextTurn().then(() => result) : Promise.resolve(result)
      }
    }
    return this.isOver ? this.finish() : this.wait()
  }

  async return (value) {
    this.end()
    return { value, done: true }
  }

  async throw (error) {
    this.end()
    throw error
  }

  [Symbol.asyncIterator] () {
    return this
  }

  /** Ends the loop: those who wait are told that there is no more. */
  end () {
    this.isOver = true
    this.forgetSignal()
    for (const { resolve } of this.dismiss()) resolve(DONE)
    if (this.unpacker !== null) {
      this.unpacker = null
      this.session.leave(this)
    }
  }

  /** Ends the loop with an error, for those who wait or else for the next to ask. */
  fail (error) {
    if (this.isOver) return
    if (this.waiting.length === 0) this.failures.push(error)
    for (const { reject } of this.dismiss()) reject(error)
    this.end()
  }

  /** Those who waited, who now don't any more. */
  dismiss () {
    for (; this.awaited > 0; this.awaited--) {
      this.unpacker.unwait(this.take)
      this.session.release()
    }
    return this.waiting.splice(0)
  }

  async finish () {
    if (this.failures.length > 0) throw this.failures.pop()
    return DONE
  }

  wait () {
    const promise = new Promise((resolve, reject) => { this.waiting.push({ resolve, reject }) })
    if (this.unpacker !== null) this.await()
    else if (this.session === null) this.start()
    return promise
  }

  await () {
    this.awaited++
    this.session.hold()
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
    if (!this.session.join(this)) return this.end() // closed meanwhile
    this.unpacker = this.session.unpacker
    for (let left = this.waiting.length; left > 0; left--) this.await()
  }
}

module.exports = { Loop, shapes }
