'use strict'

// Pushes and requests that wait, for room or for the end to open, in the order in which they were made.

const { onAbort } = require('./abort.js')
const { Map, Promise } = require('./runtime.js')

class WaitingLine {
  /** `put(job)` takes a job if there is room, else it sees to it that `serve` is called when there may be. */
  constructor (put) {
    this.put = put
    /** By job. */
    this.entries = new Map()
  }

  get length () {
    return this.entries.size
  }

  /** How many jobs wait: not all that stands in line is one. */
  get jobs () {
    let jobs = 0
    for (const job of this.entries.keys()) if (job.mark === undefined) jobs++
    return jobs
  }

  /** Resolves when the job is taken; rejects with why it never will be. */
  join (job, signal) {
    const entry = {}
    const taken = new Promise((resolve, reject) => Object.assign(entry, { resolve, reject }))
    entry.settled = taken.then(() => {}, () => {})
    entry.forget = onAbort(signal, reason => {
      this.entries.delete(job)
      entry.reject(reason)
      // Those behind it may fit where it did not.
      this.serve()
    })
    this.entries.set(job, entry)
    return taken
  }

  /** Whether a job was in line, which it is no more: nobody hears of it. */
  remove (job) {
    const entry = this.entries.get(job)
    if (entry === undefined) return false
    this.leave(job, entry)
    // Those behind it may fit where it did not.
    this.serve()
    return true
  }

  /** Takes as many as there is room for. */
  serve () {
    for (const [job, entry] of this.entries) {
      if (!this.put(job)) return
      this.leave(job, entry)
    }
  }

  /** Takes the first, whether there is room or not; `put` is told so. */
  force () {
    const [[job, entry]] = this.entries
    this.put(job, true)
    this.leave(job, entry)
  }

  /** It waits no more. */
  leave (job, { forget, resolve }) {
    this.entries.delete(job)
    forget()
    resolve()
  }

  /** Takes none. */
  refuse (error) {
    for (const [job, { forget, reject }] of this.entries) {
      this.entries.delete(job)
      forget()
      reject(error)
    }
  }

  /** Resolves when none of those who wait now wait any more. */
  async settled () {
    await Promise.all(Array.from(this.entries.values(), entry => entry.settled))
  }
}

module.exports = { WaitingLine }
