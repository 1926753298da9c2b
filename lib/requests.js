'use strict'

// Requests on their way out, and their replies. A request travels as [tag] [empty] [frames ...]; whoever replies puts the same envelope
// before the reply (RFC 28), and by the tag we know whose it is.

/** @typedef {InstanceType<typeof import('./session.js').Session>} Session */

const { Buffer, Promise, clearInterval, clearTimeout, nextTick, setTimeout, unmocked } = require('./runtime.js')
const { randomFillSync } = unmocked('node:crypto') ?? require('node:crypto')
const { onAbort } = require('./abort.js')
const { code, makeError } = require('./errors.js')
const { startLapse } = require('./exit.js')
const { checkJob } = require('./packer.js')
const { PushEnd } = require('./push_end.js')
const { Slicer } = require('./slicer.js')
const { atEndOfTick } = require('./turn.js')

/** Who asks (4 bytes), which request of its own (4), and what no worker can guess that was not asked (4): `src/engine/requests.rs`. */
const TAG = 12
const NUMBER = 4
const SECRET = 8
const DELIMITER = new Uint8Array(0)

/** The options of almost every request. */
const NONE = {}

class Requests {
  /** @param {Session} session */
  constructor (session) {
    this.session = session
    // A request that comes too late is refused with all the others that are open.
    this.end = new PushEnd(session, 'request', () => {})
    this.slicer = new Slicer(session.native.repliesTray())
    /** The requests that are open, each at its number, and the numbers that are free. */
    this.slots = []
    this.free = []
    /** The envelope of the request that is being made. */
    this.tag = Buffer.alloc(TAG)
    this.tag.writeUInt32BE(session.native.askerNumber())
    this.envelope = [this.tag, DELIMITER]
    /** Tags of requests that nobody waits for any more, to be told together. */
    this.abandoned = []
    this.secrets = new Uint32Array(1024)
    this.secretsLeft = 0
    /** How many are open, and how often one was made or settled, ever. */
    this.count = 0
    this.changes = 0
    /**
     * Whether those that are open keep the process alive: until none was made or settled for
     * `linger` milliseconds.
     */
    this.isHeld = false
    this.lapse = undefined
    this.tick = () => {
      if (this.count === 0 && this.isHeld) this.release()
    }
  }

  /** Asks, and resolves with the frames of the reply. */
  ask (job, { signal, timeout } = NONE) {
    const number = this.free.length > 0 ? this.free[this.free.length - 1] : this.slots.length
    const secret = this.drawSecret()
    this.writeTag(number, secret)
    const checked = this.end.putFast(this.envelope, job)
      ? undefined
      : checkJob(job, this.session.options.maxMessageSize, [Buffer.from(this.tag), DELIMITER])
    this.free.pop()
    return new Promise((resolve, reject) => {
      const request = { resolve, reject, secret, entry: null, timer: undefined, forget: undefined }
      this.slots[number] = request
      this.count++
      this.changes++
      if (!this.isHeld) this.hold()
      if (timeout !== undefined) {
        request.timer = setTimeout(() => this.abandon(number, secret, timedOut(timeout)), timeout)
        // It is the request that keeps the process, for as long as it may. Some test environments
        // have timers that are no objects.
        request.timer.unref?.()
      }
      if (signal !== undefined) request.forget = onAbort(signal, reason => this.abandon(number, secret, reason))
      if (checked === undefined) return
      // Once it is taken, its bytes are ours.
      request.entry = this.end.enqueue(checked)
      request.entry?.accepted.then(() => { request.entry = null }, error => this.close(number, secret)?.reject(error))
    })
  }

  writeTag (number, secret) {
    this.tag.writeUInt32BE(number, NUMBER)
    this.tag.writeUInt32BE(secret, SECRET)
  }

  drawSecret () {
    if (this.secretsLeft === 0) this.secretsLeft = randomFillSync(this.secrets).length
    return this.secrets[--this.secretsLeft]
  }

  /** Gives the replies that have come to those who wait for them. */
  serve () {
    const { slicer } = this
    for (let hasMore = true; hasMore && slicer.load(this.session.native.replies());) {
      hasMore = slicer.flag
      const { slab } = slicer
      while (!slicer.isEmpty()) {
        const request = this.close(slab.readUInt32BE(slicer.start + NUMBER), slab.readUInt32BE(slicer.start + SECRET))
        slicer.skip()
        slicer.skip()
        const reply = slicer.slice()
        request?.resolve(reply)
      }
      slicer.drop()
    }
  }

  /** Tells those whose requests have failed. */
  serveFailures () {
    for (const { number, secret, code: given, text } of this.session.native.failures()) {
      this.close(number, secret)?.reject(makeError(given || code.JOB_FAILED, text))
    }
  }

  /** Nobody waits for it any more. */
  abandon (number, secret, reason) {
    const request = this.close(number, secret)
    if (request === undefined) return
    request.reject(reason)
    if (request.entry !== null && this.end.waiting.remove(request.entry)) return
    this.writeTag(number, secret)
    if (this.abandoned.push(Buffer.from(this.tag)) === 1) nextTick(() => this.tellAbandoned())
  }

  tellAbandoned () {
    // What is in the slab must be known before it is given up.
    this.end.flush()
    this.session.native.abandon(Buffer.concat(this.abandoned.splice(0)))
  }

  /** A request that is open until now. */
  close (number, secret) {
    const request = this.slots[number]
    if (request === undefined || request.secret !== secret) return undefined
    this.slots[number] = undefined
    this.free.push(number)
    clearTimeout(request.timer)
    request.forget?.()
    // Not at once: whoever goes on with a reply may ask again.
    this.changes++
    if (--this.count === 0) atEndOfTick(this.tick)
    else if (!this.isHeld) this.hold()
    return request
  }

  hold () {
    this.isHeld = true
    this.session.watchdogs.request.begin()
    this.lapse = startLapse(this.session, this)
    this.session.hold()
  }

  release () {
    this.isHeld = false
    clearInterval(this.lapse)
    this.session.release()
  }

  /** The pipe is closed. */
  refuse (error) {
    this.end.refuse(error)
    this.slots.forEach((request, number) => request && this.close(number, request.secret).reject(error))
  }
}

function timedOut (timeout) {
  return makeError(code.TIMEOUT, `no reply within ${timeout} ms`)
}

module.exports = { Requests }
