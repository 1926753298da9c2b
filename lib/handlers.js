'use strict'

// pull(handler, { concurrency }): keeps at most so many handlers running. What they reject is tried again: a zeropipe
// pusher sees to that, for any other we do it here.

/** @typedef {InstanceType<typeof import('./session.js').Session>} Session */

const { AsyncResource } = require('node:async_hooks')
const { onAbort, throwIfAborted } = require('./abort.js')
const { count, messageOf, warn } = require('./errors.js')
const { Buffer, Map, Promise, clearTimeout, random, setTimeout } = require('./runtime.js')
const { atEndOfTick, isDue, nextTurn } = require('./turn.js')

/** The first pause before another attempt; each one after it is twice as long, up to the last of these. */
const PAUSE = 100
const LONGEST_PAUSE = 30_000

/** We know when a resource is not needed any more; the garbage collector need not look for it. */
const MANUAL = { requireManualDestroy: true }

class Handlers {
  /**
   * `session` has its end `side` open. `dead(event)` is told of jobs that were tried here too often.
   *
   * @param {Session} session
   * @param {'pull' | 'reply'} side
   * @param {(...args: any[]) => unknown} handler
   * @param {{ concurrency: number, signal?: AbortSignal, prefetch: number | 'auto' }} options
   * @param {(event: object) => void} dead
   */
  constructor (session, side, handler, { concurrency, signal, prefetch }, dead) {
    this.session = session
    this.side = side
    this.reference = { deref: () => this }
    this.handler = handler
    this.concurrency = concurrency
    this.signal = signal
    this.prefetch = prefetch
    this.dead = dead
    this.unpacker = null
    this.running = 0
    this.isWaiting = false
    this.isPausing = false
    this.isOver = false
    /** Numbers of jobs that are done, to be told together. */
    this.done = []
    /** Jobs whose pause is over, and the timers of those whose pause is not. */
    this.due = []
    this.pausing = new Map()
    /** @type {Promise<void>} */
    this.settled = new Promise(resolve => { this.resolve = resolve })
    this.take = job => {
      this.isWaiting = false
      const entry = this.entry(job)
      if (entry !== null) this.run(entry)
      this.goOn()
    }
    this.isScheduled = false
    this.tick = () => {
      this.isScheduled = false
      const { crossings } = this.unpacker
      const isUntold = this.tell()
      this.fill()
      // Whoever asks for jobs has woken the engine, which then looks at everything.
      if (isUntold && this.unpacker.crossings === crossings) this.unpacker.consumer.told()
    }
    this.forgetSignal = onAbort(signal, () => this.end())
    /**
     * The context of who has called pull or reply, in which handlers run, each in a resource of its
     * own: what they find in an AsyncLocalStorage is what is there now.
     */
    this.type = `zeropipe:${side}`
    this.context = new AsyncResource(this.type, MANUAL)
    this.makeResource = () => new AsyncResource(this.type, MANUAL)
  }

  /** Runs until the pipe is closed or the signal aborts; then the handlers that run may finish. */
  async start () {
    // It may have been aborted after its caller had looked, and before we listened.
    throwIfAborted(this.signal)
    this.unpacker = this.join()
    if (this.unpacker === null) this.isOver = true
    this.session.hold()
    this.fill()
    await this.settled
    this.context.emitDestroy()
    this.settleNow()
    this.session.release()
    if (this.unpacker !== null) this.session.settle(this.unpacker)
    throwIfAborted(this.signal)
  }

  /** Where jobs come from; null if it is too late for that. */
  join () {
    return this.session.join(this, this.side, this.prefetch, false)
  }

  /** Takes no more jobs. How many that had arrived are lost. */
  end () {
    if (this.isOver) return 0
    this.isOver = true
    this.forgetSignal()
    const left = this.due.length + this.pausing.size
    for (const timer of this.pausing.values()) clearTimeout(timer)
    this.pausing.clear()
    this.due = []
    if (left > 0) warn('ZEROPIPE_GAVE_UP', `dropped ${count(left)} whose handler had failed, before another attempt`)
    const lost = this.unpacker === null ? 0 : this.session.leave(this)
    this.fill()
    return lost
  }

  /** Starts handlers while there are jobs and room for them. */
  fill () {
    while (!this.isOver && this.running < this.concurrency && !this.isPausing) {
      const entry = this.due.shift() ?? (this.unpacker.hasJobs() ? this.nextEntry() : undefined)
      if (entry === undefined) {
        if (!this.isPausing) this.wait()
        return
      }
      this.run(entry)
      if (isDue()) this.pause()
    }
    // Also for the time of a pause: whoever waits is given a job as soon as there is one.
    this.stopWaiting()
    if (this.isPausing) return
    if (this.isOver && this.running === 0) this.resolve()
  }

  /** The next of the jobs at hand that is one for a handler. */
  nextEntry () {
    while (this.unpacker.hasJobs() && !this.isPausing) {
      const entry = this.entry(this.unpacker.next())
      if (entry !== null) return entry
      if (isDue()) this.pause()
    }
  }

  /** Goes on once everything else has had its turn. */
  pause () {
    this.isPausing = true
    nextTurn().then(() => {
      this.isPausing = false
      this.fill()
    })
  }

  /** A job with what is known of it, and its number until it is settled; null if it is none for a handler. */
  entry (job) {
    return { job, info: this.unpacker.info(), number: this.unpacker.begun - 1 }
  }

  /** Whether a handler has a job in hand. */
  get isBusy () {
    return this.running > 0
  }

  wait () {
    this.unpacker.slots = this.concurrency - this.running
    // To wait again tells the engine how many could run by now.
    if (this.isWaiting) return this.unpacker.serve()
    this.isWaiting = true
    this.session.watchdogs[this.side].begin()
    this.unpacker.wait(this.take)
  }

  stopWaiting () {
    if (!this.isWaiting) return
    this.isWaiting = false
    this.unpacker.unwait(this.take)
  }

  async run (entry) {
    this.running++
    const resource = this.context.runInAsyncScope(this.makeResource)
    try {
      this.succeeded(entry, await resource.runInAsyncScope(this.handler, undefined, entry.job, entry.info))
    } catch (error) {
      this.failed(entry, error)
    }
    resource.emitDestroy()
    this.running--
    if (!this.isPausing && isDue()) this.pause()
    this.goOn()
  }

  /** With the jobs at hand at once; to ask for others can wait for the end of the tick, when more may be done. */
  goOn () {
    if (this.unpacker.hasJobs()) this.fill()
    else this.schedule()
  }

  schedule () {
    if (this.isScheduled) return
    this.isScheduled = true
    atEndOfTick(this.tick)
  }

  succeeded ({ number }, _reply) {
    if (number === undefined) return
    this.done.push(number)
    this.schedule()
  }

  /** Tells of all that is done at once: the process ends. */
  settleNow () {
    if (this.tell()) this.unpacker.consumer.told()
  }

  /** Tells of all that is done; whether the engine has yet to be woken for it. */
  tell () {
    if (this.done.length > 0) this.unpacker.consumer.done(Float64Array.from(this.done.splice(0)))
    return false
  }

  failed ({ job, info, number }, error) {
    if (number !== undefined && this.unpacker.consumer.fail(number, messageOf(error))) return
    const { id, attempt } = info
    if (attempt >= this.session.options.maxAttempts) {
      this.dead({ job, id, attempt, error })
      return
    }
    if (this.isOver) {
      warn('ZEROPIPE_GAVE_UP', 'dropped 1 job whose handler failed while the pipe closed')
      return
    }
    // Copied, so that one job that is tried for long doesn't keep the slab of a thousand others.
    const entry = { job: job.map(frame => Buffer.from(frame)), info: { ...info, attempt: attempt + 1 } }
    this.pausing.set(entry, setTimeout(() => {
      this.pausing.delete(entry)
      this.due.push(entry)
      this.fill()
    }, pause(attempt)))
  }
}

/** Half to all of the pause before the next attempt, so that what failed together doesn't come back together. */
function pause (attempt) {
  return Math.min(PAUSE * 2 ** (attempt - 1), LONGEST_PAUSE) * (0.5 + random() / 2)
}

module.exports = { Handlers }
