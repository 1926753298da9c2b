'use strict'

// Pushes and requests that wait, for room or for the end to open, in the order in which they were
// made. Small jobs that nobody can abort are packed at once, many to a slab and to a promise, so
// that one of them costs little more than its bytes.

const { listen, unlisten } = require('./abort.js')
const { checkAgain, lengthOf } = require('./packer.js')
const { Buffer, Promise } = require('./runtime.js')
const { FRAMES, MORE } = require('./slicer.js')

/** Bytes of the first slab of those who wait, and of the largest. */
const LEAST = 4 * 1024
const MOST = 64 * 1024
/** In a slab there is room for one frame for so many bytes. */
const FRAME = MOST / FRAMES
/**
 * Larger jobs stay where they are until they are taken: a copy would cost more memory than it
 * saves.
 */
const SMALL = LEAST
/**
 * Jobs that share a promise are accepted together for whoever looks: when the last of them is. So
 * they are no more than this part of those who wait, and of the high-water mark.
 */
const PART = 1 / 64

/**
 * Memory for packed jobs, in the shape of `src/batch.rs`: their bytes, and the ends of their
 * frames.
 */
class Slab {
  constructor (size) {
    this.bytes = Buffer.allocUnsafeSlow(size)
    this.ends = new Uint32Array(size / FRAME)
    this.used = 0
    this.frames = 0
  }

  hasSpace (bytes, frames) {
    return this.used + bytes <= this.bytes.length && this.frames + frames <= this.ends.length
  }

  put (frame, hasMore) {
    if (typeof frame === 'string') {
      this.used += this.bytes.write(frame, this.used)
    } else {
      this.bytes.set(frame, this.used)
      this.used += lengthOf(frame)
    }
    this.ends[this.frames++] = hasMore ? this.used + MORE : this.used
  }

  /** Itself, when nothing in it is needed any more, if it is as small as the next one would be. */
  reused () {
    if (this.bytes.length > LEAST) return null
    this.used = this.frames = 0
    return this
  }
}

/** What stands in line: `accepted` settles when it is taken, or never will be. */
class Entry {
  constructor () {
    this.resolve = this.reject = null
    this.accepted = new Promise((resolve, reject) => {
      this.resolve = resolve
      this.reject = reject
    })
    /** Where it stands: how many stood in line before it, ever. */
    this.place = 0
  }

  /** How many jobs of it wait. */
  get jobs () {
    return 0
  }

  /** What is to be done when it waits no more. */
  forget () {}
}

/** Packed jobs in a row, which share a promise. They end where the slab does, or before. */
class WaitingBatch extends Entry {
  constructor (slab) {
    super()
    this.slab = slab
    /** The first that waits: its first frame, and where that starts. */
    this.frame = slab.frames
    this.start = slab.used
    /** How many wait, and the most that all of them, ever, can count. */
    this.count = 0
    this.cost = 0
  }

  get jobs () {
    return this.count
  }

  take (packer, isForced) {
    return packer.putBatch(this, isForced)
  }
}

/** One checked job by itself, which may be aborted. */
class WaitingJob extends Entry {
  constructor (job, line, signal) {
    super()
    this.job = job
    this.line = line
    this.signal = signal
    if (signal !== undefined) listen(signal, this)
  }

  aborted (reason) {
    if (this.line.remove(this)) this.reject(reason)
  }

  forget () {
    if (this.signal !== undefined) unlisten(this.signal, this)
  }

  get jobs () {
    return 1
  }

  take (packer, isForced) {
    checkAgain(this.job)
    return packer.put(this.job, isForced)
  }
}

/** No job: tells when all before it are taken. */
class Marker extends Entry {
  constructor (reached) {
    super()
    this.reached = reached
  }

  take () {
    this.reached()
    return true
  }
}

class WaitingLine {
  /**
   * `take(entry, isForced)` has an entry taken if there is room, else it sees to it that `serve` is
   * called when there may be. The other two are the high-water mark.
   */
  constructor (take, { maxWaitingJobs, maxWaitingBytes }) {
    this.take = take
    this.mostJobs = maxWaitingJobs * PART
    this.mostCost = maxWaitingBytes * PART
    /**
     * Those before `first` are taken, and those that were removed are null; so many left the array
     * before.
     */
    this.entries = []
    this.first = 0
    this.passed = 0
    /** How many entries wait, and how many jobs. */
    this.length = 0
    this.jobs = 0
    /** The slab that has space, and the batch that is the last in line and may get more. */
    this.slab = null
    this.batch = null
    /** Those who wait for the line to be empty. */
    this.watchers = []
  }

  /**
   * A small job waits in a batch: checked frames, the most bytes that they can come to, and the
   * most that they count. The promise is that of the batch.
   */
  pack (frames, bytes, cost) {
    const batch = this.batchFor(bytes, frames.length)
    const last = frames.length - 1
    for (let index = 0; index <= last; index++) this.slab.put(frames[index], index < last)
    return this.packed(batch, cost)
  }

  /** The same for a job of one frame. */
  packFrame (frame, bytes) {
    const batch = this.batchFor(bytes, 1)
    this.slab.put(frame, false)
    return this.packed(batch, bytes)
  }

  /** A checked job waits by itself: its entry. */
  join (job, signal) {
    return this.add(new WaitingJob(job, this, signal))
  }

  /**
   * Calls `reached` when all that wait now are taken, and resolves; rejects with why they never
   * will be.
   */
  mark (reached) {
    return this.add(new Marker(reached)).accepted
  }

  /** The batch that gets the next job. */
  batchFor (bytes, frames) {
    if (this.slab === null || !this.slab.hasSpace(bytes, frames)) {
      this.slab = new Slab(this.slab === null ? LEAST : Math.min(2 * this.slab.bytes.length, MOST))
      this.batch = null
    }
    return this.batch ??= this.add(new WaitingBatch(this.slab))
  }

  packed (batch, cost) {
    batch.count++
    batch.cost += cost
    this.jobs++
    const isFull = batch.count >= this.mostJobs || batch.count >= this.jobs * PART || batch.cost >= this.mostCost
    if (isFull) this.batch = null
    return batch.accepted
  }

  add (entry) {
    entry.place = this.passed + this.entries.length
    this.entries.push(entry)
    this.batch = null
    this.length++
    this.jobs += entry.jobs
    return entry
  }

  /** Whether it was in line, where it is no more: nobody hears of it. */
  remove (entry) {
    const index = entry.place - this.passed
    if (this.entries[index] !== entry) return false
    const isFirst = entry === this.front()
    this.entries[index] = null
    this.left(entry)
    // Those behind it may fit where it did not.
    if (isFirst) this.serve()
    return true
  }

  /** Takes as many as there is room for. */
  serve () {
    while (this.takeFirst(false));
  }

  /** Takes one job, whether there is room or not. */
  force () {
    this.takeFirst(true)
  }

  /**
   * Takes the first entry, or as many of its jobs as there is room for; whether that was all of it.
   */
  takeFirst (isForced) {
    const entry = this.front()
    if (entry === undefined) return false
    const before = entry.jobs
    try {
      if (!this.take(entry, isForced)) return false
    } catch (error) {
      this.leave(entry)
      entry.reject(error)
      return true
    } finally {
      this.jobs -= before - entry.jobs
    }
    this.leave(entry)
    entry.resolve()
    return true
  }

  /** The first entry, or undefined. */
  front () {
    while (this.first < this.entries.length && this.entries[this.first] === null) this.first++
    return this.entries[this.first]
  }

  /** The first entry waits no more. */
  leave (entry) {
    this.entries[this.first++] = null
    if (this.first >= 1024 && 2 * this.first >= this.entries.length) this.compact()
    this.left(entry)
  }

  compact () {
    this.entries.splice(0, this.first)
    this.passed += this.first
    this.first = 0
  }

  left (entry) {
    this.length--
    this.jobs -= entry.jobs
    if (this.batch === entry) this.batch = null
    entry.forget()
    if (this.length > 0) return
    this.first = this.entries.length
    this.compact()
    this.slab = this.slab?.reused() ?? null
    for (const resolve of this.watchers.splice(0)) resolve()
  }

  /** Takes none. */
  refuse (error) {
    for (let entry; (entry = this.front()) !== undefined;) {
      this.leave(entry)
      entry.reject(error)
    }
  }

  /** Resolves when nothing waits. */
  emptied () {
    return this.length === 0 ? Promise.resolve() : new Promise(resolve => { this.watchers.push(resolve) })
  }
}

module.exports = { WaitingLine, SMALL }
