'use strict'

// Requests on their way out, and their replies. A request travels as [tag] [empty] [frames ...]; whoever replies puts the same envelope
// before the reply (RFC 28), and by the tag we know whose it is.

const { randomFillSync } = require('node:crypto')
const { onAbort } = require('./abort.js')
const { code, makeError } = require('./errors.js')
const { checkJob } = require('./packer.js')
const { PushEnd } = require('./push_end.js')
const { Slicer } = require('./slicer.js')
const { begin } = require('./turn.js')

/** Who asks (4 bytes), which request of its own (4), and what no worker can guess that was not asked (4): `src/engine/requests.rs`. */
const TAG = 12
const NUMBER = 4
const SECRET = 8
const DELIMITER = new Uint8Array(0)

class Requests {
  constructor (session) {
    this.session = session
    // A request that comes too late is refused with all the others that are open.
    this.end = new PushEnd(session, 'request', () => {})
    this.asker = session.native.askerNumber()
    this.slicer = new Slicer()
    this.open = new Map()
    this.last = 0
    /** Tags of requests that nobody waits for any more, to be told together. */
    this.abandoned = []
    this.secrets = Buffer.alloc(4096)
    this.nextSecret = this.secrets.length
  }

  /** Asks, and resolves with the frames of the reply. */
  ask (job, { signal, timeout }) {
    const number = this.last = (this.last + 1) >>> 0
    const tag = this.makeTag(number)
    const checked = checkJob(job, this.session.options.maxMessageSize, [tag, DELIMITER])
    return new Promise((resolve, reject) => {
      const request = { resolve, reject, tag, checked, timer: undefined, forget: undefined }
      this.open.set(number, request)
      this.session.hold()
      if (timeout !== undefined) request.timer = setTimeout(() => this.abandon(number, timedOut(timeout)), timeout)
      if (signal !== undefined) request.forget = onAbort(signal, reason => this.abandon(number, reason))
      if (!this.end.put(checked)) this.end.push(checked).catch(error => this.fail(number, error))
    })
  }

  makeTag (number) {
    if (this.nextSecret === this.secrets.length) {
      randomFillSync(this.secrets)
      this.nextSecret = 0
    }
    const tag = Buffer.allocUnsafe(TAG)
    tag.writeUInt32BE(this.asker, 0)
    tag.writeUInt32BE(number, NUMBER)
    this.secrets.copy(tag, SECRET, this.nextSecret, this.nextSecret += TAG - SECRET)
    return tag
  }

  /** Gives the replies that have come to those who wait for them. */
  serve () {
    begin()
    const { native } = this.session
    const { slicer } = this
    for (let slab; (slab = native.replies(slicer.ends)) !== null;) {
      slicer.load(slab)
      while (!slicer.isEmpty()) {
        const number = slab.readUInt32BE(slicer.start + NUMBER)
        slicer.skip()
        slicer.skip()
        this.close(number)?.resolve(slicer.slice())
      }
      slicer.drop()
    }
    for (const { request, code: given, text } of native.failures()) this.fail(request, makeError(given || code.JOB_FAILED, text))
  }

  /** There will be no reply. */
  fail (number, error) {
    this.close(number)?.reject(error)
  }

  /** Nobody waits for it any more. */
  abandon (number, reason) {
    const request = this.close(number)
    if (request === undefined) return
    request.reject(reason)
    if (this.end.waiting.remove(request.checked)) return
    if (this.abandoned.push(request.tag) === 1) process.nextTick(() => this.tellAbandoned())
  }

  tellAbandoned () {
    // What is in the slab must be known before it is given up.
    this.end.flush()
    this.session.native.abandon(Buffer.concat(this.abandoned.splice(0)))
  }

  /** A request that is open until now. */
  close (number) {
    const request = this.open.get(number)
    if (request === undefined) return undefined
    this.open.delete(number)
    clearTimeout(request.timer)
    request.forget?.()
    this.session.release()
    return request
  }

  /** The pipe is closed. */
  refuse (error) {
    this.end.refuse(error)
    for (const number of [...this.open.keys()]) this.fail(number, error)
  }
}

function timedOut (timeout) {
  return makeError(code.TIMEOUT, `no reply within ${timeout} ms`)
}

module.exports = { Requests }
