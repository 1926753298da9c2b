'use strict'

// One listener a signal, however many calls share it: a hundred pushes that wait with one signal are ordinary use, and Node
// would take their listeners for a leak.

const { Promise, Set, WeakMap } = require('./runtime.js')

/** Whether a value is an AbortSignal that can be read, of any realm: test environments bring their own. */
function isSignal (value) {
  try {
    return Object.prototype.toString.call(value) === '[object AbortSignal]' &&
      typeof value.aborted === 'boolean' && typeof value.addEventListener === 'function'
  } catch {
    return false
  }
}

/** What a call rejects with whose signal has aborted. Some realms give no reason. */
function reasonOf (signal) {
  return signal.reason === undefined ? new DOMException('This operation was aborted', 'AbortError') : signal.reason
}

/** Not the signal's own, which some realms lack. */
function throwIfAborted (signal) {
  if (signal?.aborted) throw reasonOf(signal)
}

/** By signal. */
const sets = new WeakMap()

/**
 * Has `waiter.aborted(reason)` called when the signal aborts, unless `unlisten` is called before.
 */
function listen (signal, waiter) {
  let set = sets.get(signal)
  if (set === undefined) {
    set = new Set()
    sets.set(signal, set)
  }
  if (set.size === 0) signal.addEventListener('abort', tellAll, { once: true })
  set.add(waiter)
}

function unlisten (signal, waiter) {
  const set = sets.get(signal)
  if (set.delete(waiter) && set.size === 0) signal.removeEventListener('abort', tellAll)
}

function tellAll ({ target: signal }) {
  const set = sets.get(signal)
  const all = [...set]
  set.clear()
  for (const waiter of all) waiter.aborted(reasonOf(signal))
}

/**
 * Calls `callback` when the signal aborts, if there is one, unless the function that this returns
 * is called before.
 */
function onAbort (signal, callback) {
  if (signal === undefined) return () => {}
  const waiter = { aborted: callback }
  listen(signal, waiter)
  return () => unlisten(signal, waiter)
}

/** Settles like `promise`, but rejects with the signal's reason as soon as it aborts. */
function aborting (promise, signal) {
  if (signal === undefined) return promise
  return new Promise((resolve, reject) => {
    const forget = onAbort(signal, reject)
    promise.then(resolve, reject).finally(forget)
  })
}

module.exports = { aborting, isSignal, listen, onAbort, reasonOf, throwIfAborted, unlisten }
