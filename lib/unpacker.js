'use strict'

// Jobs on their way in, for one loop or pool of handlers. The engine hands over a slab with many of them; they are sliced off
// it one by one, without a crossing. How far that has come the engine reads from shared words, so that it can acknowledge
// jobs and knows what to send on.

/** @import { NativePipe } from '../binding.d.ts' */

const { unmocked } = require('./runtime.js')
const { randomBytes } = unmocked('node:crypto') ?? require('node:crypto')
const { Slicer } = require('./slicer.js')

/** The shared words (`src/engine/consumer.rs`): how many jobs were begun with, how many are done, whether to tell. */
const BEGUN = 0
const DONE = 1
const ARMED = 2

/** Names for the jobs of pushers that give them none. */
const nameless = randomBytes(8).toString('hex')
let lastNameless = 0

class Unpacker {
  /**
   * `inOrder` says that each job is done when the next is asked for.
   *
   * @param {NativePipe} native
   * @param {'pull' | 'reply'} end
   * @param {number | 'auto'} prefetch
   * @param {boolean} inOrder
   */
  constructor (native, end, prefetch, inOrder) {
    this.end = end
    this.consumer = native.consumer(end, prefetch === 'auto' ? -1 : prefetch, inOrder)
    this.words = this.consumer.words()
    this.slicer = new Slicer(this.consumer.tray())
    /** How many jobs were begun with: each job's number is this before it is sliced. */
    this.begun = 0
    /** Of the slab at hand, as far as it has been asked for: where its jobs come from, and what the id of job 0 would be. */
    this.source = null
    /** @type {number | bigint} */
    this.firstId = 0n
    /** Those who wait for a job, in order. */
    this.takers = []
    /** How many jobs could be begun with at once by those who wait; a pool sets it. */
    this.slots = 0
    /** The engine knows that somebody waits, or is about to, and wakes us when there is a job. */
    this.isAwaited = false
    this.isLeft = false
    /** How often the engine was asked for jobs. */
    this.crossings = 0
  }

  /** The next job, or undefined: there is none, or others wait who come first. Then whoever asks for some `slots` is about to wait. */
  next (slots = 0) {
    return this.takers.length === 0 ? this.slice(slots) : undefined
  }

  /** Whether `next` would answer without a crossing. */
  hasJobs () {
    return !this.slicer.isEmpty() && this.takers.length === 0
  }

  /** Slices the next job off the slab, or off the next one. */
  slice (slots) {
    if (this.slicer.isEmpty() && !this.refill(slots)) return undefined
    this.words[BEGUN] = ++this.begun
    return this.slicer.slice()
  }

  /** The job sliced last, as it is best held for long. */
  apart (job) {
    return this.slicer.apart(job)
  }

  /** All jobs sliced so far are done. */
  settle () {
    this.words[DONE] = this.begun
    // Whoever works slowly is asked to tell; a fast one is watched instead.
    if (this.words[ARMED] !== 0) this.consumer.told()
  }

  /** What is known of the job sliced last. */
  info () {
    const number = this.begun - 1
    if (this.source === null || !this.source.isRow) this.ask(number)
    const { instance, attempt, from } = this.source
    return { id: instance === '' ? `${nameless}-${++lastNameless}` : `${instance}-${this.sequence(number)}`, attempt, from }
  }

  /** Where a job comes from; so do those behind it, if they are a row. */
  ask (number) {
    const { address, identity, instance, id, attempt, isRow } = this.consumer.source(number)
    this.source = { instance, attempt, isRow, from: Object.freeze({ address, identity }) }
    const first = BigInt(id) - BigInt(number)
    // A peer may tell any number of 64 bits; one of ours tells small ones.
    this.firstId = first > 0n && first < 2n ** 52n ? Number(first) : first
  }

  sequence (number) {
    return typeof this.firstId === 'number' ? this.firstId + number : BigInt.asUintN(64, this.firstId + BigInt(number))
  }

  /** `take` is called with a job as soon as there is one. */
  wait (take) {
    this.takers.push(take)
    if (!this.isAwaited || this.takers.length > 1) this.serve()
  }

  /** Takes back a `wait`. */
  unwait (take) {
    const index = this.takers.indexOf(take)
    if (index >= 0) this.takers.splice(index, 1)
    this.isAwaited = false
  }

  /** Gives jobs to those who wait. */
  serve () {
    // Perhaps it has woken us.
    this.isAwaited = false
    while (this.takers.length > 0) {
      const job = this.slice(Math.max(this.slots, this.takers.length))
      if (job === undefined) return
      this.takers.shift()(job)
    }
  }

  /** Gives back what was not begun with: others can have it sooner. */
  recall () {
    if (this.slicer.isEmpty()) return
    this.slicer.drop()
    this.consumer.recall()
  }

  /** Takes no more; what was not begun with goes back. How many jobs are lost by that, which is only so on a closed pipe. */
  release () {
    if (this.isLeft) return 0
    this.slicer.drop()
    return this.consumer.release()
  }

  /** The last of it: everything that was begun with is done. */
  finish () {
    if (this.isLeft) return
    this.isLeft = true
    this.consumer.finish()
    this.consumer.leave()
  }

  /** Nobody will say what became of what was begun with. */
  abandon () {
    if (this.isLeft) return
    this.isLeft = true
    this.consumer.abandon()
  }

  /** Takes the next slab; without one, and with some `slots` free, the engine wakes us when there is. */
  refill (slots) {
    if (this.isLeft) return false
    this.crossings++
    const isLoaded = this.slicer.load(this.consumer.take(slots))
    this.isAwaited = !isLoaded && slots > 0
    if (!isLoaded) return false
    // The jobs may go on a row that has begun with those before.
    if (!this.slicer.flag) this.source = null
    return true
  }
}

module.exports = { Unpacker }
