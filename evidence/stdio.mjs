// The lines our Node programs print; evidence/crate/src prints the same.

import { writeSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

// Whatever becomes of the driver, nothing it started outlives it.
process.stdin.on('end', () => process.exit()).resume()

/** Written at once, so that a kill can't take it along. */
export function print (line) {
  writeSync(1, `${line}\n`)
}

export function number ([frame]) {
  return frame.readUInt32LE(0)
}

/**
 * Sends numbered jobs as fast as they are taken, then one a millisecond for as long as it lives, so that the
 * driver can see whether it goes on.
 */
export async function sendAll (jobs, size, send) {
  let sent = 0
  setInterval(() => print(`sent ${sent}`), 100)
  for (;;) {
    const job = Buffer.alloc(size)
    job.writeUInt32LE(sent)
    await send(job)
    sent++
    if (sent === jobs) print(`sent ${sent}`)
    if (sent >= jobs) await sleep(1)
  }
}

/** Prints the number of every job; with `hold` the first one is never finished. */
export async function work (source, hold) {
  for await (const job of source) {
    print(number(job))
    if (hold) await new Promise(() => {})
  }
}
