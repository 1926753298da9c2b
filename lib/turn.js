'use strict'

// A loop that awaits promises which are already resolved never leaves the microtask queue: no timer fires, no signal
// is handled, no other loop runs. So whoever is served this way is made to wait for the event loop now and then.

const { Promise, microtask, nextTick, now, process, setImmediate, setTimeout } = require('./runtime.js')

/** Milliseconds of uninterrupted work after which somebody waits; users are promised 10. */
const LIMIT = 8
/** The most calls between two looks at the clock, which costs as much as packing a job. */
const MOST = 32

/**
 * Deno looks at its sockets only at every 61st turn while immediates are left, which is half a second with ours; while it waits for a timer it does
 * at once.
 */
const defer = process.versions.deno === undefined ? setImmediate : work => setTimeout(work, 0)

/** When the work began, and when the clock was looked at last. A variable would get a new object for each such number. */
const clock = new Float64Array(2)
const BEGAN = 0
const LOOKED = 1
let every = 1
let left = 1
let isFresh = true
/** @type {Promise<void>} */
let turn = null

/** Whether it is time to let others run. */
function isDue () {
  return --left <= 0 && look()
}

function look () {
  const time = now()
  const passed = time - clock[LOOKED]
  clock[LOOKED] = time
  if (isFresh) {
    isFresh = false
    clock[BEGAN] = time
    every = 1
  } else {
    // Slow work between two calls wants a look at every call.
    every = passed > 1 ? 1 : Math.min(every * 2, MOST)
  }
  left = every
  return time - clock[BEGAN] >= LIMIT
}

/** A promise that resolves once everything else has had its turn. */
function nextTurn () {
  turn ??= new Promise(resolve => defer(() => {
    turn = null
    begin()
    resolve()
  }))
  return turn
}

/** Notes that the event loop has just turned. */
function begin () {
  isFresh = true
  left = 1
}

/** Has `work` done at the end of the tick, when nothing that was resolved in it is left to go on. */
function atEndOfTick (work) {
  // What is put off to the next tick by itself comes before all that.
  microtask(() => nextTick(work))
}

module.exports = { isDue, nextTurn, begin, atEndOfTick }
