'use strict'

// Pushes that wait, for room or for the end to open, in the order in which they were made.

const { onAbort } = require('./abort.js')

class WaitingLine {
  /** `put(job)` takes a job if there is room, else it sees to it that `serve` is called when there may be. */
  constructor (put) {
    this.put = put
    this.entries = []
  }

  get length () {
    return this.entries.length
  }

  /** How many jobs wait: not all that stands in line is one. */
  get jobs () {
    return this.entries.filter(({ job }) => job.mark === undefined).length
  }

  /** Resolves when the job is taken; rejects with why it never will be. */
  join (job, signal) {
    const entry = { job }
    const taken = new Promise((resolve, reject) => Object.assign(entry, { resolve, reject }))
    entry.settled = taken.then(() => {}, () => {})
    entry.forget = onAbort(signal, reason => {
      this.entries.splice(this.entries.indexOf(entry), 1)
      entry.reject(reason)
      // Those behind it may fit where it did not.
      this.serve()
    })
    this.entries.push(entry)
    return taken
  }

  /** Whether a job was in line, which it is no more: nobody hears of it. */
  remove (job) {
    const index = this.entries.findIndex(entry => entry.job === job)
    if (index === -1) return false
    const [{ forget, resolve }] = this.entries.splice(index, 1)
    forget()
    resolve()
    // Those behind it may fit where it did not.
    this.serve()
    return true
  }

  /** Takes as many as there is room for. */
  serve () {
    let taken = 0
    while (taken < this.entries.length && this.put(this.entries[taken].job)) taken++
    for (const { forget, resolve } of this.entries.splice(0, taken)) {
      forget()
      resolve()
    }
  }

  /** Takes the first, whether there is room or not; `put` is told so. */
  force () {
    const [entry] = this.entries.splice(0, 1)
    this.put(entry.job, true)
    entry.forget()
    entry.resolve()
  }

  /** Takes none. */
  refuse (error) {
    for (const { forget, reject } of this.entries.splice(0)) {
      forget()
      reject(error)
    }
  }

  /** Resolves when none of those who wait now wait any more. */
  async settled () {
    await Promise.all(this.entries.map(entry => entry.settled))
  }
}

module.exports = { WaitingLine }
