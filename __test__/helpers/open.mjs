import { pipe } from '../../index.js'

/** A pipe that is closed when the test is over. */
export function open (t, options) {
  const opened = pipe(options)
  // An idle pipe doesn't keep the process alive, but its test waits for what it tells.
  const alive = setInterval(() => {}, 60_000)
  t.after(async () => {
    await opened.close({ linger: 0 })
    clearInterval(alive)
  })
  return opened
}
