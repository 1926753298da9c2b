import { createHash } from 'node:crypto'

/** How many jobs between two marks. */
const STEP = 10_000

/**
 * What went by, in little: a mark every ten thousand jobs that depends on every byte, on where each frame and each job
 * ends, and on the order. `pyzmq/peer.py` makes the same marks.
 */
export class Tally {
  #hash = createHash('sha1')
  #count = 0
  #marks = []

  add (job) {
    const shape = Buffer.alloc(4 * (job.length + 1))
    shape.writeUInt32LE(job.length)
    job.forEach((frame, index) => shape.writeUInt32LE(frame.length, 4 * (index + 1)))
    this.#hash.update(shape)
    for (const frame of job) this.#hash.update(frame)
    if (++this.#count % STEP === 0) this.#mark()
  }

  get () {
    if (this.#count % STEP !== 0) this.#mark()
    return { count: this.#count, marks: this.#marks }
  }

  #mark () {
    this.#marks.push(this.#hash.copy().digest('hex'))
  }
}
