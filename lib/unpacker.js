'use strict'

// Jobs on their way in. The engine hands over a slab with many of them; they are sliced off it one by one, without a
// crossing, and shared by all loops and handlers of the pipe on this thread.

const { randomBytes } = require('node:crypto')
const { begin } = require('./turn.js')

/** Set in an end when more frames of the same job follow. */
const MORE = 2 ** 31
/** What stands in the array of ends before the ends (`src/binding/pull_end.rs`). */
const HEADER = 4
const FRAMES = 4096

class Unpacker {
  constructor (native) {
    this.native = native
    this.begun = native.begunWord()
    this.ends = new Uint32Array(HEADER + FRAMES)
    this.slab = null
    this.start = 0
    this.frame = HEADER
    this.frames = HEADER
    /** Of the job sliced last: its index in the slab. */
    this.job = -1
    this.source = null
    this.isMixed = false
    /** Those who wait for a job, in order. */
    this.takers = []
    this.users = 0
    this.instance = randomBytes(8).toString('hex')
    this.number = 0
  }

  /** The next job, or undefined: there is none, or others wait who come first. */
  next () {
    return this.takers.length === 0 ? this.slice() : undefined
  }

  /** Slices the next job off the slab, or off the next one. */
  slice () {
    if (this.frame === this.frames && !this.refill()) return undefined
    const end = this.ends[this.frame++]
    this.begun[0] = this.frame - HEADER
    this.job++
    const start = this.start
    if (end >= MORE) return this.sliceMany(end)
    this.start = end
    return [this.slab.subarray(start, end)]
  }

  sliceMany (end) {
    const frames = []
    while (end >= MORE) {
      frames.push(this.slab.subarray(this.start, end - MORE))
      this.start = end - MORE
      end = this.ends[this.frame++]
    }
    frames.push(this.slab.subarray(this.start, end))
    this.start = end
    this.begun[0] = this.frame - HEADER
    return frames
  }

  /** What is known of the job sliced last. */
  info () {
    if (this.source === null || this.isMixed) this.source = this.native.source(this.job)
    return { id: `${this.instance}-${++this.number}`, attempt: 1, from: this.source }
  }

  /** `take` is called with a job as soon as there is one. */
  wait (take) {
    this.takers.push(take)
    this.serve()
  }

  /** Takes back a `wait`. */
  unwait (take) {
    const index = this.takers.indexOf(take)
    if (index >= 0) this.takers.splice(index, 1)
  }

  /** Gives jobs to those who wait. */
  serve () {
    begin()
    while (this.takers.length > 0) {
      const job = this.slice()
      if (job === undefined) return
      this.takers.shift()(job)
    }
  }

  /** One more loop or handler wants jobs. */
  join () {
    this.users++
  }

  /** One fewer does; after the last, what was not begun with goes to other threads, or waits. */
  leave () {
    if (--this.users > 0) return
    this.forget()
    this.native.release()
  }

  /** Drops the slab; how many jobs in it nobody has begun with. */
  forget () {
    const left = this.jobsBetween(this.frame, this.frames)
    this.slab = null
    this.frame = this.frames = HEADER
    return left
  }

  /** Takes the next slab; without one, and with somebody waiting, the engine wakes us when there is. */
  refill () {
    const slab = this.native.take(this.ends, this.takers.length > 0)
    if (slab === null) {
      this.slab = null
      return false
    }
    this.slab = slab
    this.frames = HEADER + this.ends[0]
    this.frame = HEADER + this.ends[1]
    this.start = this.ends[2]
    this.isMixed = this.ends[3] === 1
    this.source = null
    // Some may have been begun with by another thread before it came to us.
    this.job = this.jobsBetween(HEADER, this.frame) - 1
    return true
  }

  jobsBetween (from, to) {
    let jobs = 0
    for (let frame = from; frame < to; frame++) if (this.ends[frame] < MORE) jobs++
    return jobs
  }
}

module.exports = { Unpacker }
