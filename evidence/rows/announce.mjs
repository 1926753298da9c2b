// A peer announces a frame of 4 TiB, then an honest one brings a job.

import { announceCommand, announceJob, greet, job, shakeHands } from '../peer.mjs'
import { until } from '../program.mjs'

/** No system gives that much memory unless it overcommits without limit, and then this row says little. */
const SIZE = 2 ** 42
const TIME_TO_DIE = 1_500
const TIME_TO_SERVE = 3_000
const HONEST = 7
const NEEDED = 'survives and serves the next peer'

export const beforeHandshake = {
  test: 'a peer announces a frame of 4 TiB in place of its READY',
  needed: NEEDED,
  measure: system =>
    announce(system, async endpoint => {
      const peer = await greet(endpoint)
      peer.write(announceCommand(SIZE))
    })
}

export const afterHandshake = {
  test: 'the same after the handshake, as a job',
  needed: NEEDED,
  measure: system =>
    announce(system, async endpoint => {
      const peer = await shakeHands(endpoint, 'PUSH')
      peer.write(announceJob(SIZE))
    })
}

async function announce (system, attack) {
  const worker = system.pull(['bind'])
  const endpoint = await worker.endpoint()
  await attack(endpoint)
  const died = await until(() => worker.ended, TIME_TO_DIE)
  if (died) return { passes: false, text: `the process ends: ${died}` }
  const serves = await isServed(worker, endpoint)
  return { passes: serves, text: serves ? NEEDED : 'survives, but serves nobody any more' }
}

async function isServed (worker, endpoint) {
  try {
    const peer = await shakeHands(endpoint, 'PUSH')
    peer.write(job(HONEST))
    return Boolean(await until(() => worker.jobs.has(HONEST), TIME_TO_SERVE))
  } catch {
    return false
  }
}
