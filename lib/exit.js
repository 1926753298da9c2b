'use strict'

// What happens to jobs and requests when the process ends: accepted jobs keep it alive until they
// are delivered, open requests until they are answered, both until `linger` is over; what is given
// up is said. Nothing of this costs anything before the end.

/** @typedef {InstanceType<typeof import('./session.js').Session>} Session */

const { Set, clearTimeout, now, process, setInterval, setTimeout, unmocked } = require('./runtime.js')
const { writeSync } = unmocked('node:fs') ?? require('node:fs')
const { gaveUp, mayBeLost } = require('./errors.js')
const { watchDelivery } = require('./watchdog.js')

/** So often in a linger it is looked whether anything has become of open requests. */
const LOOKS = 4
/** `process.exit()` is not held up for longer, whatever `linger` says. */
const MOST_AT_EXIT = 2_000

/** @type {Set<Session>} */
const sessions = new Set()
let isWatching = false

/** @param {Session} session */
function watch (session) {
  sessions.add(session)
  if (isWatching) return
  isWatching = true
  process.on('beforeExit', () => {
    for (const session of sessions) {
      if (mustDeliver(session)) linger(session)
      // Requests that have lapsed: others would have kept the process.
      else if (session.requests?.count > 0) session.close(0)
    }
  })
  process.on('exit', flushAll)
  if (process.versions.deno !== undefined) process.on('uncaughtExceptionMonitor', flushUncaught)
}

function unwatch (session) {
  sessions.delete(session)
}

/**
 * Whether jobs are left, or yet to be sent, and no other thread sees to them.
 *
 * @param {Session} session
 */
function mustDeliver (session) {
  return (session.undelivered() > 0 || session.native.sending() > 0) && session.native.isAlone()
}

/**
 * The loop is empty and jobs are left: stays until they are delivered or given up.
 *
 * @param {Session} session
 */
async function linger (session) {
  const { linger } = session.options
  session.hold()
  const stopWatching = watchDelivery(session, false)
  const end = linger < 2 ** 31 ? setTimeout(() => session.close(0), linger) : undefined
  try {
    await (session.isClosing ? session.over : session.deliverAll())
  } catch {
    // Closed meanwhile, which has said what became of the jobs; or an end that can't open, which its callers know.
  }
  stopWatching()
  clearTimeout(end)
  session.release()
}

/**
 * Has open requests keep the process no more once none was made or settled for the time of a
 * linger, to within a `LOOKS`th of it. A timer, to be cleared; by itself it keeps no process.
 */
function startLapse ({ options: { linger } }, requests) {
  if (linger >= 2 ** 31) return undefined
  let { changes } = requests
  let quiet = 0
  return setInterval(() => {
    quiet = requests.changes === changes ? quiet + 1 : 0
    changes = requests.changes
    if (quiet === LOOKS) requests.release()
  }, linger / LOOKS).unref()
}

/** The process ends now: what connected peers can take, or are to be told, in a moment is still theirs. */
function flushAll (exitCode) {
  const until = now() + MOST_AT_EXIT
  for (const session of sessions) {
    // A process that fails has not done what it had in hand.
    if (exitCode === 0) session.settleNow()
    session.giveBack()
    const left = () => Math.max(0, until - now())
    session.native.tellPushers(left())
    if (!mustDeliver(session)) continue
    const jobs = session.native.flush(Math.min(session.options.linger, left()))
    const workers = session.native.flushSending(Math.min(session.options.linger, left()))
    const where = `${session.options.address}, at exit`
    // A warning would be printed too late.
    if (jobs > 0) writeSync(2, `zeropipe: ${gaveUp(jobs, where)}\n`)
    if (workers > 0) writeSync(2, `zeropipe: ${mayBeLost(workers, where)}\n`)
  }
}

/** Deno ends without 'exit' after an error that nobody catches. */
function flushUncaught () {
  if (process.listenerCount('uncaughtException') > 0) return
  flushAll(1)
  // Then it unloads us, which would be a word for what is in hand; the end of the connection says it better. Not of a thread's: that stays.
  if ((unmocked('node:worker_threads') ?? require('node:worker_threads')).isMainThread) for (const session of sessions) session.abandon()
}

/** Whether any pipe of this thread has a job in hand. */
function isPulling () {
  return [...sessions].some(session => [...session.eachUser()].some(user => user.isBusy))
}

module.exports = { isPulling, watch, unwatch, startLapse }
