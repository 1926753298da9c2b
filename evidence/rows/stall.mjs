// Two workers, one of which stalls: what the free one gets, and what happens when the stalled one goes.

import { shakeHands } from '../peer.mjs'
import { standstill, until } from '../program.mjs'

const JOBS = 400_000
const SIZE = 1024
const TIME_TO_GO_ON = 5_000

/** A plain peer's and the kernel's buffers fill before a sender can know; this is what they may take. */
const ENOUGH = 380_000

/** With credit only what the stalled worker holds is out of reach. */
const ALL_BUT_A_HANDFUL = JOBS - 10

const format = count => count.toLocaleString('en')

export const stalledPeer = {
  test: `two workers, one shook hands and never reads; ${format(JOBS)} jobs of 1 KiB; the free one gets`,
  needed: `${format(ENOUGH)} or more`,
  measure: system => starve(system, endpoint => shakeHands(endpoint, 'PULL'), ENOUGH)
}

export const stalledWorker = {
  test: 'the same, the stalled worker is of the same kind and never finishes its first job; the free one gets',
  needed: `all but a handful (${format(ALL_BUT_A_HANDFUL)})`,
  measure: system =>
    starve(system, endpoint => system.pull(['connect', endpoint, 'hold'], JOBS), ALL_BUT_A_HANDFUL)
}

export const stalledPeerGoes = {
  test: 'then the connection of the stalled peer is closed; the sender (one thread)',
  needed: 'goes on',
  measure: system => close(system, ['one-thread'])
}

export const stalledPeerGoesTwoThreads = {
  test: 'the same, two threads',
  needed: 'goes on',
  measure: async system => (system.choosesThreads ? close(system, []) : { text: '-' })
}

async function starve (system, stall, enough) {
  const { sender, free } = await standoff(system, stall, ['one-thread'])
  const passes = free.jobs.size >= enough
  const stops = sender.sent < JOBS ? `, then all stops (${format(sender.sent)} accepted)` : ''
  return { passes, text: format(free.jobs.size) + stops }
}

async function close (system, runtime) {
  let stalled
  const stall = async endpoint => (stalled = await shakeHands(endpoint, 'PULL'))
  const { sender, free } = await standoff(system, stall, runtime)
  const before = free.received
  stalled.destroy()
  const closedAt = Date.now()
  const passes = Boolean(await until(() => free.received > before + 1_000, TIME_TO_GO_ON))
  return { passes, text: passes ? 'goes on' : silent(sender, closedAt) ? 'the whole runtime freezes' : 'stands still' }
}

/** The last of the reports may have been on its way when the connection was closed. */
function silent (sender, since) {
  return sender.ended !== undefined || sender.reportedAt < since + 500
}

async function standoff (system, stall, runtime) {
  const sender = system.push([JOBS, SIZE, 2, ...runtime])
  const endpoint = await sender.endpoint()
  await stall(endpoint)
  const free = system.pull(['connect', endpoint], JOBS)
  await standstill([free])
  return { sender, free }
}
