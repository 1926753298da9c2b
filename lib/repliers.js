'use strict'

// reply(handler, { concurrency }): handlers whose jobs are requests. What they return goes back to whoever asked, behind the envelope
// in which the request came (RFC 28); what they throw does too, if that is a zeropipe end.

const { code, codeOf, messageOf } = require('./errors.js')
const { Handlers } = require('./handlers.js')
const { Packer, SLAB, checkJob } = require('./packer.js')
const { FRAMES } = require('./slicer.js')

/** Room without end, as `src/binding/push_end.rs` packs it: what a slab can hold. */
const PLENTY = (FRAMES << 18) | SLAB

class Repliers extends Handlers {
  /** `refused(event)` is told of messages that are no requests. */
  constructor (session, handler, options, dead, refused) {
    super(session, 'reply', handler, options, dead)
    this.refused = refused
    /** The numbers of the requests whose replies are in the slab, and of the one that is being put there. */
    this.numbers = null
    this.count = 0
    this.number = 0
    this.packer = null
  }

  join () {
    const unpacker = super.join()
    if (unpacker !== null) {
      const slab = unpacker.consumer.replies()
      this.numbers = new Float64Array(slab.buffer, slab.byteOffset + SLAB + 4 * FRAMES, FRAMES)
      // The end of our own tick is when it is flushed, with whatever else is to be told then.
      this.packer = new Packer(this.way(slab), this.session.options.maxMessageSize, { schedule: () => this.schedule() })
    }
    return unpacker
  }

  /** Where the packer's slabs go. */
  way (slab) {
    return {
      slab: () => slab,
      room: () => PLENTY,
      fits: () => true,
      send: (used, frames) => {
        this.unpacker.consumer.reply(used, frames, this.count)
        this.count = 0
        return PLENTY
      },
      sendLarge: frames => {
        this.unpacker.consumer.replyLarge(this.number, frames)
        this.unpacker.consumer.told()
        this.number = undefined
        return PLENTY
      }
    }
  }

  entry (frames) {
    const entry = super.entry(frames)
    const delimiter = frames.findIndex(frame => frame.length === 0)
    if (delimiter === -1 || delimiter === frames.length - 1) {
      this.unpacker.consumer.done(Float64Array.of(entry.number))
      this.refused({ end: 'reply', address: entry.info.from.address, code: code.PROTOCOL, reason: 'a message that is no request: no empty frame before its body (RFC 28)' })
      return null
    }
    entry.job = frames.splice(delimiter + 1)
    entry.envelope = frames
    return entry
  }

  /** What it throws about a reply is as good as the handler's own error. */
  succeeded (entry, reply) {
    if (this.packer.putBehind(entry.envelope, reply)) {
      this.numbers[this.count++] = entry.number
      return
    }
    const checked = checkJob(reply, this.session.options.maxMessageSize, entry.envelope)
    this.number = entry.number
    this.packer.put(checked)
    if (this.number !== undefined) this.numbers[this.count++] = this.number
  }

  failed ({ job, info: { id, attempt }, number }, error) {
    if (!this.unpacker.consumer.reject(number, codeOf(error), messageOf(error))) this.dead({ job, id, attempt, error })
  }

  tell () {
    const hasReplies = this.count > 0
    this.packer?.tick()
    return hasReplies
  }
}

module.exports = { Repliers }
