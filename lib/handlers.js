'use strict'

// pull(handler, { concurrency }): keeps at most so many handlers running, and tries again what they reject.

const { onAbort } = require('./abort.js')
const { count, warn } = require('./errors.js')
const { isDue, nextTurn } = require('./turn.js')

/** The first pause before another attempt; each one after it is twice as long, up to the last of these. */
const PAUSE = 100
const LONGEST_PAUSE = 30_000

class Handlers {
  /** `session` has an open pull end; `dead(event)` is told of jobs that were tried too often. */
  constructor (session, handler, { concurrency, signal }, dead) {
    this.session = session
    this.handler = handler
    this.concurrency = concurrency
    this.signal = signal
    this.dead = dead
    this.running = 0
    this.isWaiting = false
    this.isOver = false
    /** Jobs whose pause is over, and the timers of those whose pause is not. */
    this.due = []
    this.pausing = new Map()
    this.settled = new Promise((resolve, reject) => Object.assign(this, { resolve, reject }))
    this.take = job => {
      this.isWaiting = false
      this.run(this.entry(job))
      this.fill()
    }
    this.forgetSignal = onAbort(signal, () => this.end())
  }

  /** Runs until the pipe is closed or the signal aborts; then the handlers that run may finish. */
  async start () {
    if (!this.session.join(this)) this.isOver = true
    this.session.hold()
    this.fill()
    await this.settled
    this.session.release()
    this.signal?.throwIfAborted()
  }

  /** Takes no more jobs. */
  end () {
    if (this.isOver) return
    this.isOver = true
    this.forgetSignal()
    const left = this.due.length + this.pausing.size
    for (const timer of this.pausing.values()) clearTimeout(timer)
    this.pausing.clear()
    this.due = []
    if (left > 0) warn('ZEROPIPE_GAVE_UP', `dropped ${count(left)} whose handler had failed, before another attempt`)
    this.session.leave(this)
    this.fill()
  }

  /** Starts handlers while there are jobs and room for them. */
  fill () {
    while (!this.isOver && this.running < this.concurrency) {
      const entry = this.due.shift() ?? this.nextEntry()
      if (entry === undefined) {
        this.wait()
        return
      }
      this.run(entry)
    }
    this.stopWaiting()
    if (this.isOver && this.running === 0) this.resolve()
  }

  nextEntry () {
    const job = this.session.unpacker.next()
    return job === undefined ? undefined : this.entry(job)
  }

  entry (job) {
    return { job, info: this.session.unpacker.info() }
  }

  wait () {
    if (this.isWaiting) return
    this.isWaiting = true
    this.session.unpacker.wait(this.take)
  }

  stopWaiting () {
    if (!this.isWaiting) return
    this.isWaiting = false
    this.session.unpacker.unwait(this.take)
  }

  async run (entry) {
    this.running++
    try {
      await this.handler(entry.job, entry.info)
    } catch (error) {
      this.failed(entry, error)
    }
    if (isDue()) await nextTurn()
    this.running--
    this.fill()
  }

  failed ({ job, info }, error) {
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
  return Math.min(PAUSE * 2 ** (attempt - 1), LONGEST_PAUSE) * (0.5 + Math.random() / 2)
}

module.exports = { Handlers }
