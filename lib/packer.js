'use strict'

// Jobs on their way out. They are copied into a slab, many to one crossing: the slab goes to the engine when the engine
// is idle, when it is full, or at the end of the tick, whichever comes first.

/** @import { NativePushEnd } from '../binding.d.ts' */

const { Buffer, Promise, nextTick, unmocked } = require('./runtime.js')
const { isAnyArrayBuffer, isPromise, isProxy, isTypedArray, isUint8Array } = unmocked('node:util/types') ?? require('node:util/types')
const { code, makeError, messageOf } = require('./errors.js')
const { describe } = require('./misuse.js')
const { FRAMES, MORE } = require('./slicer.js')
const { isDue, nextTurn, begin } = require('./turn.js')

/** Bytes of a slab. A job of this size or more travels alone. */
const SLAB = 64 * 1024
const MAX_FRAMES = 1024
/** What a frame beyond the first counts against limits, besides its bytes. */
const FRAME_COST = 64
/** Up to this length writing a string unit by unit is faster than a call. */
const SHORT = 24

/** What the word of an engine says: it has something to do, it has nothing to do, and this very thread can write (`src/engine/push_port.rs`). */
const BUSY = 0
const IDLE = 1
const LENT = 2

const NO_FRAMES = []

/** The word of an engine whose idleness does not matter. */
const NEVER_IDLE = Uint32Array.of(BUSY)

/** Shared by every push that is accepted at once: nobody can tell them apart. */
const ACCEPTED = Promise.resolve()

/**
 * The bytes of a typed array, of whatever realm, that it really has: a class made from it may say
 * otherwise. Throws if it is none, as a proxy of one.
 */
const lengthOf = Function.prototype.call.bind(getter(Uint8Array.prototype, 'byteLength'))

/** The accessor of a typed array that is inherited from what all typed arrays have in common. */
function getter (prototype, name) {
  return Object.getOwnPropertyDescriptor(Object.getPrototypeOf(prototype), name).get
}

/**
 * The most bytes that a job can become if it is what almost every job is, one frame that needs no
 * closer look: of a string one unit becomes three at most. Else -1; so it is for an array without
 * bytes, whose memory may be gone.
 */
function mostBytes (job) {
  if (typeof job === 'string') return 3 * job.length
  return isUint8Array(job) ? lengthOf(job) || -1 : -1
}

function atNextTick (tick) {
  nextTick(() => {
    begin()
    tick()
  })
}

class Packer {
  /**
   * `native` is open, and has memory for a slab (`src/binding/slab.rs`); `maxMessageSize` bounds a job. `idle` is the word that tells whether
   * the engine is idle; so many jobs are a `part` that leaves before the end of the tick; `schedule(tick)` has `tick` called then;
   * `refused(jobs)` gets back what a closed engine took no more.
   *
   * @param {Pick<NativePushEnd, 'slab' | 'room' | 'fits' | 'send' | 'sendLarge'>} native
   * @param {number} maxMessageSize
   * @param {object} way
   * @param {Uint32Array} [way.idle]
   * @param {number} [way.part]
   * @param {(tick: () => void) => void} [way.schedule]
   * @param {(jobs: Uint8Array[][]) => void} [way.refused]
   */
  constructor (native, maxMessageSize, { idle = NEVER_IDLE, part = Infinity, schedule = atNextTick, refused }) {
    this.native = native
    this.idle = idle
    this.part = part
    this.schedule = schedule
    this.refused = refused
    this.maxMessageSize = maxMessageSize
    const { buffer, byteOffset } = native.slab()
    this.slab = Buffer.from(buffer, byteOffset, SLAB)
    this.ends = new Uint32Array(buffer, byteOffset + SLAB, FRAMES)
    this.used = 0
    this.frames = 0
    this.jobs = 0
    /** What the queue can take, of which the slab is a part: bytes to be used, jobs. */
    this.limit = 0
    this.maxJobs = 0
    this.isScheduled = false
    this.tick = () => {
      this.isScheduled = false
      this.flush()
    }
    this.setRoom(native.room())
  }

  /** Takes a simple job if there is room at hand: a promise, or null if it needs a closer look. */
  push (job) {
    const bytes = mostBytes(job)
    if (bytes < 0 || !this.hasRoom(bytes, 1)) return null
    this.putFrame(job, bytes)
    this.endJob()
    return isDue() ? nextTurn() : ACCEPTED
  }

  /** Takes a simple job behind an envelope if there is room at hand; if not, it needs a closer look. */
  putBehind (envelope, job) {
    const bytes = mostBytes(job)
    if (bytes < 0) return false
    let cost = bytes
    for (const part of envelope) cost += part.length + FRAME_COST
    if (!this.hasRoom(cost, envelope.length + 1)) return false
    for (const part of envelope) {
      this.putBytes(part, part.length)
      this.ends[this.frames++] = this.used + MORE
    }
    this.putFrame(job, bytes)
    this.limit -= envelope.length * FRAME_COST
    this.endJob()
    return true
  }

  /** Takes a job of checked frames that counts `cost`; false if there is no room, unless that is not to matter. */
  put ({ frames, bytes, cost }, isForced = false) {
    if (bytes >= SLAB) return this.putAlone(frames, cost, isForced)
    if (this.jobs >= this.maxJobs || this.used + cost > this.limit || !this.hasSpace(frames.length, bytes)) {
      this.flush()
      this.setRoom(this.native.room())
      if (!isForced && !this.native.fits(cost)) return false
    }
    for (let index = 0; index < frames.length; index++) {
      if (index > 0) this.ends[this.frames++] = this.used + MORE
      const frame = frames[index]
      if (typeof frame === 'string') this.putWide(frame)
      else this.putBytes(frame, lengthOf(frame))
    }
    this.limit -= cost - bytes
    this.endJob()
    return true
  }

  /**
   * Takes those jobs of a waiting batch (`lib/waiting_line.js`) for which there is room; or one, if
   * room is not to matter. Whether none of them is left.
   */
  putBatch (batch, isForced) {
    do {
      let some = this.fitting(batch)
      if (some.jobs === 0) {
        this.flush()
        this.setRoom(this.native.room())
        some = this.fitting(batch)
      }
      if (some.jobs === 0) {
        some = this.fitting(batch, 1, Infinity)
        if (!isForced && !this.native.fits(some.cost)) return false
      }
      this.copy(batch, some)
    } while (batch.count > 0 && !isForced)
    return batch.count === 0
  }

  /** How many of the first jobs of a batch fit, and what they have and count. */
  fitting ({ slab: { ends }, frame, start, count }, most = this.maxJobs - this.jobs, room = this.limit - this.used) {
    const some = { jobs: 0, frames: 0, bytes: 0, cost: 0 }
    while (some.jobs < Math.min(most, count)) {
      let last = frame + some.frames
      while (ends[last] >= MORE) last++
      const frames = last + 1 - frame
      const bytes = ends[last] - start
      const cost = bytes + (frames - some.jobs - 1) * FRAME_COST
      if (cost > room || !this.hasSpace(frames, bytes)) break
      some.jobs++
      some.frames = frames
      some.bytes = bytes
      some.cost = cost
    }
    return some
  }

  /** Takes the first jobs of a batch, which fit. */
  copy (batch, { jobs, frames, bytes, cost }) {
    const { slab, frame, start } = batch
    const shift = this.used - start
    this.slab.set(slab.bytes.subarray(start, start + bytes), this.used)
    for (let index = frame; index < frame + frames - 1; index++) this.ends[this.frames++] = slab.ends[index] + shift
    batch.frame += frames
    batch.start += bytes
    batch.count -= jobs
    this.used += bytes
    this.limit -= cost - bytes
    // All but the last, which ends as any other.
    this.jobs += jobs - 1
    this.endJob()
  }

  /** Hands what is in the slab over to the engine; or writes it, if that is possible and is not to be left to the engine. */
  flush (directly = true) {
    if (this.jobs === 0) return
    const { used, frames } = this
    const room = this.native.send(used, frames, directly)
    if (room === null) this.refused(this.unpack())
    this.used = this.frames = this.jobs = 0
    this.setRoom(room ?? 0)
  }

  putAlone (frames, cost, isForced) {
    this.flush()
    if (!isForced && !this.native.fits(cost)) return false
    const bytes = frames.map(frame => typeof frame === 'string' ? Buffer.from(frame) : frame)
    const room = this.native.sendLarge(bytes)
    if (room === null) this.refused([bytes])
    this.setRoom(room ?? 0)
    return true
  }

  /** The jobs in the slab, copied. */
  unpack () {
    const jobs = []
    let [job, start] = [[], 0]
    for (const end of this.ends.subarray(0, this.frames)) {
      const stop = end % MORE
      job.push(Buffer.from(this.slab.subarray(start, stop)))
      start = stop
      if (end < MORE) jobs.push(job.splice(0))
    }
    return jobs
  }

  putFrame (frame, bytes) {
    if (typeof frame === 'string') this.putString(frame)
    else this.putBytes(frame, bytes)
  }

  putString (text) {
    const length = text.length
    let used = this.used
    if (length > SHORT) return this.putWide(text)
    const slab = this.slab
    for (let index = 0; index < length; index++) {
      const unit = text.charCodeAt(index)
      if (unit > 127) return this.putWide(text)
      slab[used++] = unit
    }
    this.used = used
  }

  putWide (text) {
    this.used += this.slab.write(text, this.used)
  }

  putBytes (frame, bytes) {
    this.slab.set(frame, this.used)
    this.used += bytes
  }

  /** Whether a job finds room, after making some if that helps. */
  hasRoom (cost, frames) {
    if (this.isRoomy(cost, frames)) return true
    this.flush()
    return this.isRoomy(cost, frames)
  }

  isRoomy (cost, frames) {
    return this.jobs < this.maxJobs && this.used + cost <= this.limit && this.hasSpace(frames, cost) && cost <= this.maxMessageSize
  }

  hasSpace (frames, bytes) {
    return this.used + bytes <= SLAB && this.frames + frames <= FRAMES
  }

  endJob () {
    this.ends[this.frames++] = this.used
    this.jobs++
    if (this.jobs >= this.part) return this.flush()
    const idle = this.idle[0]
    // Whoever pushes once a tick writes by himself. Of more, the engine writes many at a time.
    if (idle === IDLE || (idle === LENT && this.isScheduled)) return this.flush(false)
    if (!this.isScheduled) {
      this.isScheduled = true
      this.schedule(this.tick)
    }
    if (idle === LENT) this.flush()
  }

  /** Takes note of the room that `src/binding/push_end.rs` packed into one number. */
  setRoom (room) {
    this.maxJobs = (room >>> 18) & 8191
    this.limit = room & 262143
  }
}

function invalidJob (what) {
  return makeError(code.INVALID_JOB, `${what} can't be a job: a job is a string, number, null or bytes, or an array of those`)
}

function toFrame (value) {
  if (typeof value === 'string') return value
  if (typeof value === 'number') return String(value)
  if (value === null) return ''
  if (isUint8Array(value) && lengthOf(value) > 0) return value
  if (ArrayBuffer.isView(value) || isAnyArrayBuffer(value)) return bytesOf(value)
  if (!isProxy(value) && Array.isArray(value)) throw invalidJob('an array within an array')
  throw invalidJob(`${describe(value)}${isPromise(value) ? ', which is to be awaited,' : ''}`)
}

/** Asking for these of a view tells its memory, or that this is gone. */
const ofArray = {
  buffer: getter(Uint8Array.prototype, 'buffer'),
  start: getter(Uint8Array.prototype, 'byteOffset')
}
const ofDataView = {
  buffer: Object.getOwnPropertyDescriptor(DataView.prototype, 'buffer').get,
  start: Object.getOwnPropertyDescriptor(DataView.prototype, 'byteOffset').get,
  length: Object.getOwnPropertyDescriptor(DataView.prototype, 'byteLength').get
}

/** The bytes of a view or a buffer, of whatever realm. */
function bytesOf (value) {
  try {
    if (isAnyArrayBuffer(value)) return new Uint8Array(value)
    if (!isTypedArray(value)) return new Uint8Array(ofDataView.buffer.call(value), ofDataView.start.call(value), ofDataView.length.call(value))
    // Throws where there is no memory, which its length does not tell from an empty one.
    Uint8Array.prototype.keys.call(value)
    return new Uint8Array(ofArray.buffer.call(value), ofArray.start.call(value), lengthOf(value))
  } catch (error) {
    throw Object.assign(invalidJob(`${describe(value)} whose memory is gone (transferred, or made smaller)`), { cause: error })
  }
}

/**
 * What a job is made of, each part read once; what proxies and getters of users throw becomes an
 * error of ours that says it.
 */
function partsOf (job, most) {
  try {
    if (!Array.isArray(job)) return [job]
    const { length } = job
    const parts = []
    // There are too many, which is all that is of interest then.
    if (length > most) parts.length = length
    else for (let index = 0; index < length; index++) parts.push(job[index])
    return parts
  } catch (error) {
    throw Object.assign(makeError(code.INVALID_JOB, `a job can't be read: ${messageOf(error)}`), { cause: error })
  }
}

function toFrames (job, envelope) {
  const most = MAX_FRAMES - envelope.length
  const parts = partsOf(job, most)
  if (parts.length === 0) throw invalidJob('an empty array')
  if (parts.length > most) throw makeError(code.MESSAGE_TOO_LARGE, `a job of ${parts.length} frames is over the limit of ${most}`)
  const frames = envelope.slice()
  for (const part of parts) frames.push(toFrame(part))
  return frames
}

function countBytes (frames) {
  let bytes = 0
  for (const frame of frames) bytes += typeof frame === 'string' ? Buffer.byteLength(frame) : lengthOf(frame)
  return bytes
}

/**
 * Checks a job: its frames, those of an envelope before them, their bytes, and what they count.
 * Throws an error with its code.
 */
function checkJob (job, maxMessageSize, envelope = NO_FRAMES) {
  const frames = toFrames(job, envelope)
  const bytes = countBytes(frames)
  const cost = bytes + (frames.length - 1) * FRAME_COST
  if (cost > maxMessageSize) {
    throw makeError(code.MESSAGE_TOO_LARGE, `a job of ${bytes} bytes in ${frames.length} frames is over the limit (maxMessageSize: ${maxMessageSize})`)
  }
  return { frames, bytes, cost }
}

/** Throws if the memory of a job that was checked has gone or changed its size since. */
function checkAgain ({ frames, bytes }) {
  if (countBytes(frames) !== bytes) throw makeError(code.INVALID_JOB, 'the memory of a job was transferred, or changed its size, while the job waited')
}

module.exports = { ACCEPTED, Packer, SLAB, checkAgain, checkJob, lengthOf, mostBytes }
