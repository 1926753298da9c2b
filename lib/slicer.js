'use strict'

// Jobs as the engine hands them over: a slab with many of them, and where each of their frames stops.

/** Set in an end when more frames of the same job follow. */
const MORE = 2 ** 31
/** What stands in a tray before the ends (`src/binding/slab.rs`). */
const HEADER = 5
/** The most frames of a slab. */
const FRAMES = 4096

class Slicer {
  /** `tray` is memory that the engine fills: with what it says of a slab, the ends, and the slab if it is small. */
  constructor (tray) {
    this.ends = new Uint32Array(tray.buffer, tray.byteOffset, HEADER + FRAMES)
    this.small = tray.subarray(this.ends.byteLength)
    this.slab = null
    this.start = 0
    this.frame = HEADER
    this.frames = HEADER
  }

  isEmpty () {
    return this.frame === this.frames
  }

  /** Begins with what the engine has put into the tray, and what it has lent, if anything; false if there is nothing. */
  load (lent) {
    if (this.ends[0] === 0) {
      this.slab = null
      return false
    }
    this.slab = lent ?? Buffer.from(this.small.subarray(0, this.ends[4]))
    this.frames = HEADER + this.ends[0]
    this.frame = HEADER + this.ends[1]
    this.start = this.ends[2]
    return true
  }

  /** What the engine's flag says. */
  get flag () {
    return this.ends[3] === 1
  }

  /** The next job, of which there must be one. */
  slice () {
    const end = this.ends[this.frame++]
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
    return frames
  }

  /** Leaves a frame out, behind which there must be another of the same job. */
  skip () {
    this.start = this.ends[this.frame++] - MORE
  }

  drop () {
    this.slab = null
    this.frame = this.frames = HEADER
  }
}

module.exports = { Slicer, MORE, FRAMES }
