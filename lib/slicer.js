'use strict'

// Jobs as the engine hands them over: a slab with many of them, and where each of their frames stops.

const { addBallast } = require('./ballast.js')
const { Buffer } = require('./runtime.js')

/** Set in an end when more frames of the same job follow. */
const MORE = 2 ** 31
/** What stands in a tray before the ends (`src/binding/slab.rs`). */
const HEADER = 5
/** The most frames of a slab. */
const FRAMES = 4096
/** A job that is no more than this part of its slab should not keep all of it. A copy costs as much as handing out a few jobs, so it is not for large ones. */
const PART = 1 / 128

/**
 * Makes a Buffer of a part of memory. The class that Node makes all Buffers of does it in a third of the time that `subarray` takes; a
 * runtime that has no such class does it in its own way.
 */
const View = Buffer[Symbol.species]?.prototype === Buffer.prototype
  ? Buffer[Symbol.species]
  : function (memory, start, length) { return Buffer.from(memory, start, length) }

class Slicer {
  /**
   * `tray` is memory that the engine fills: with what it says of a slab, the ends, and the slab if
   * it is small.
   *
   * @param {Uint8Array} tray
   */
  constructor (tray) {
    this.ends = new Uint32Array(tray.buffer, tray.byteOffset, HEADER + FRAMES)
    this.small = tray.subarray(this.ends.byteLength)
    /** The slab at hand, the memory that it is a part of, and from where on. */
    this.slab = null
    this.memory = null
    this.base = 0
    /** Where in the slab the next frame starts. */
    this.start = 0
    this.frame = HEADER
    this.frames = HEADER
  }

  isEmpty () {
    return this.frame === this.frames
  }

  /**
   * Begins with what the engine has put into the tray, and what it has lent, if anything; false if
   * there is nothing.
   *
   * @param {Buffer | null} lent
   */
  load (lent) {
    if (this.ends[0] === 0) {
      this.slab = this.memory = null
      return false
    }
    this.slab = lent ?? Buffer.from(this.small.subarray(0, this.ends[4]))
    addBallast(this.slab.length, this.ends[0])
    this.memory = this.slab.buffer
    this.base = this.slab.byteOffset
    this.frames = HEADER + this.ends[0]
    this.frame = HEADER + this.ends[1]
    this.start = this.ends[2]
    return true
  }

  /** What the engine's flag says. */
  get flag () {
    return this.ends[3] === 1
  }

  /** The next job, of which there must be one. The last is likely to be held until there is a slab again. */
  slice () {
    const end = this.ends[this.frame++]
    const job = end < MORE ? [this.view(end)] : this.sliceMany(end)
    return this.isEmpty() ? this.apart(job) : job
  }

  /** A job that may be held for long: a copy, if it would keep a large slab for little; and no part of any other memory, for that would keep it too. */
  apart (job) {
    const { slab } = this
    if (slab.length <= this.small.length) return job
    let bytes = 0
    for (const frame of job) bytes += frame.length
    if (bytes > slab.length * PART) return job
    const copy = Buffer.allocUnsafeSlow(bytes)
    let end = 0
    return job.map(frame => {
      copy.set(frame, end)
      return copy.subarray(end, end += frame.length)
    })
  }

  sliceMany (end) {
    const frames = []
    while (end >= MORE) {
      frames.push(this.view(end - MORE))
      end = this.ends[this.frame++]
    }
    frames.push(this.view(end))
    return frames
  }

  /** The frame that stops there. */
  view (end) {
    const start = this.start
    this.start = end
    return new View(this.memory, this.base + start, end - start)
  }

  /** Leaves a frame out, behind which there must be another of the same job. */
  skip () {
    this.start = this.ends[this.frame++] - MORE
  }

  drop () {
    this.slab = this.memory = null
    this.frame = this.frames = HEADER
  }
}

module.exports = { Slicer, MORE, FRAMES }
