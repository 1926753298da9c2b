import assert from 'node:assert/strict'
import { pipe } from '../../index.js'

/** A pipe that is closed when the test is over. */
export function open (t, options) {
  // Without an address it would be the default pipe's: a test that reads `stats()` too early must not end up there.
  const hasAddress = typeof options === 'string' || ['push', 'pull', 'request', 'reply'].some(end => options[end] !== undefined)
  assert.ok(hasAddress, 'no address')
  const opened = pipe(options)
  // An idle pipe doesn't keep the process alive, but its test waits for what it tells.
  const alive = setInterval(() => {}, 60_000)
  t.after(async () => {
    await opened.close({ linger: 0 })
    clearInterval(alive)
  })
  return opened
}
