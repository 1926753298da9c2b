'use strict'

// One listener a signal, however many calls share it: a hundred pushes that wait with one signal are ordinary use, and Node
// would take their listeners for a leak.

const { Promise, Set, WeakMap } = require('./runtime.js')

const callbacks = new WeakMap()

/** Calls `callback` when the signal aborts, unless the function that this returns is called before. */
function onAbort (signal, callback) {
  if (signal === undefined) return () => {}
  let set = callbacks.get(signal)
  if (set === undefined) {
    set = new Set()
    callbacks.set(signal, set)
  }
  if (set.size === 0) signal.addEventListener('abort', tellAll, { once: true })
  // In a box, so that the same function may be given twice.
  const own = { callback }
  set.add(own)
  return () => {
    if (set.delete(own) && set.size === 0) signal.removeEventListener('abort', tellAll)
  }
}

function tellAll ({ target: signal }) {
  const set = callbacks.get(signal)
  const all = [...set]
  set.clear()
  for (const { callback } of all) callback(signal.reason)
}

/** Settles like `promise`, but rejects with the signal's reason as soon as it aborts. */
function aborting (promise, signal) {
  if (signal === undefined) return promise
  return new Promise((resolve, reject) => {
    const forget = onAbort(signal, reject)
    promise.then(resolve, reject).finally(forget)
  })
}

module.exports = { onAbort, aborting }
