'use strict'

// Jobs on their way out. They are copied into a slab, many to one crossing: the slab goes to the engine when the engine
// is idle, when it is full, or at the end of the tick, whichever comes first.

const { code, makeError } = require('./errors.js')
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

/** Whether a job is what almost every job is: one frame that needs no closer look. */
const isSimple = job => typeof job === 'string' || job instanceof Uint8Array

/** The most bytes that a simple frame can become: one unit of a string becomes three at most. */
const mostBytes = frame => typeof frame === 'string' ? 3 * frame.length : frame.length

function atNextTick (tick) {
  process.nextTick(() => {
    begin()
    tick()
  })
}

class Packer {
  /**
   * `native` is open, and has memory for a slab (`src/binding/slab.rs`); `maxMessageSize` bounds a job. `idle` is the word that tells whether
   * the engine is idle; so many jobs are a `part` that leaves before the end of the tick; `schedule(tick)` has `tick` called then;
   * `refused(jobs)` gets back what a closed engine took no more.
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
    if (!isSimple(job) || !this.hasRoom(mostBytes(job), 1)) return null
    this.putFrame(job)
    this.endJob()
    return isDue() ? nextTurn() : ACCEPTED
  }

  /** Takes a simple job behind an envelope if there is room at hand; if not, it needs a closer look. */
  putBehind (envelope, job) {
    if (!isSimple(job)) return false
    let cost = mostBytes(job)
    for (const part of envelope) cost += part.length + FRAME_COST
    if (!this.hasRoom(cost, envelope.length + 1)) return false
    for (const part of envelope) {
      this.putBytes(part)
      this.ends[this.frames++] = this.used + MORE
    }
    this.putFrame(job)
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
      this.used += typeof frame === 'string' ? this.slab.write(frame, this.used) : (this.slab.set(frame, this.used), frame.length)
    }
    this.limit -= cost - bytes
    this.endJob()
    return true
  }

  /**
   * Takes those jobs of a waiting batch (`lib/waiting_line.js`) for which there is room; or one, if room is not to matter. Whether
   * none of them is left.
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

  putFrame (frame) {
    if (typeof frame === 'string') this.putString(frame)
    else this.putBytes(frame)
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

  putBytes (bytes) {
    this.slab.set(bytes, this.used)
    this.used += bytes.length
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
  if (value instanceof Uint8Array) return value
  if (typeof value === 'number') return String(value)
  if (value === null) return ''
  if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength)
  if (value instanceof ArrayBuffer || (typeof SharedArrayBuffer !== 'undefined' && value instanceof SharedArrayBuffer)) return new Uint8Array(value)
  throw invalidJob(Array.isArray(value) ? 'an array within an array' : typeof value === 'object' ? 'an object' : typeof value)
}

/** Checks a job: its frames, those of an envelope before them, their bytes, and what they count. Throws an error with its code. */
function checkJob (job, maxMessageSize, envelope = NO_FRAMES) {
  if (Array.isArray(job) && job.length === 0) throw invalidJob('an empty array')
  if (Array.isArray(job) && envelope.length + job.length > MAX_FRAMES) {
    throw makeError(code.MESSAGE_TOO_LARGE, `a job of ${job.length} frames is over the limit of ${MAX_FRAMES - envelope.length}`)
  }
  const frames = envelope.slice()
  if (Array.isArray(job)) for (const frame of job) frames.push(toFrame(frame))
  else frames.push(toFrame(job))
  let bytes = 0
  for (const frame of frames) bytes += typeof frame === 'string' ? Buffer.byteLength(frame) : frame.length
  const cost = bytes + (frames.length - 1) * FRAME_COST
  if (cost > maxMessageSize) {
    throw makeError(code.MESSAGE_TOO_LARGE, `a job of ${bytes} bytes in ${frames.length} frames is over the limit (maxMessageSize: ${maxMessageSize})`)
  }
  return { frames, bytes, cost }
}

module.exports = { ACCEPTED, Packer, SLAB, checkJob, isSimple, mostBytes }
