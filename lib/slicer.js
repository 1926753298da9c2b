'use strict'

// Jobs as the engine hands them over: a slab with many of them, and where each of their frames stops.

/** Set in an end when more frames of the same job follow. */
const MORE = 2 ** 31
/** What stands in the array of ends before the ends (`src/binding/slab.rs`). */
const HEADER = 4
/** The most frames of a slab. */
const FRAMES = 4096

class Slicer {
  constructor () {
    /** To be filled by the engine. */
    this.ends = new Uint32Array(HEADER + FRAMES)
    this.slab = null
    this.start = 0
    this.frame = HEADER
    this.frames = HEADER
  }

  isEmpty () {
    return this.frame === this.frames
  }

  /** Begins with a slab, whose ends have just been filled in. What the engine's flag says of it. */
  load (slab) {
    this.slab = slab
    this.frames = HEADER + this.ends[0]
    this.frame = HEADER + this.ends[1]
    this.start = this.ends[2]
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
