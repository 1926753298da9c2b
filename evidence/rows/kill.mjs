// A worker is killed halfway. A job counts as lost if no worker has printed its number.

import { standstill, until } from '../program.mjs'

const JOBS = 300_000
const SIZE = 1024
const TIME_TO_GET_HALFWAY = 20_000

/** Nothing lost proves nothing if the killed worker was idle, or all was done. */
const A_FAIR_SHARE = JOBS / 10

const format = count => count.toLocaleString('en')

export const killedWorker = {
  test: `two workers, one is killed (SIGKILL) halfway through ${format(JOBS)} jobs of 1 KiB`,
  needed: '0 lost',
  measure: kill
}

async function kill (system) {
  const sender = system.push([JOBS, SIZE, 2])
  const endpoint = await sender.endpoint()
  const victim = system.pull(['connect', endpoint], JOBS)
  const survivor = system.pull(['connect', endpoint], JOBS)
  await until(() => victim.jobs.size + survivor.jobs.size >= JOBS / 2, TIME_TO_GET_HALFWAY)
  await victim.kill()
  const left = JOBS - victim.jobs.size - survivor.jobs.size
  await standstill([survivor])
  return verdict(sender, victim.jobs, survivor.jobs, left)
}

function verdict (sender, killed, survived, left) {
  const repeated = [...survived].filter(number => killed.has(number)).length
  const done = killed.size + survived.size - repeated
  const lost = JOBS - done
  if (lost === 0 && Math.min(killed.size, left) < A_FAIR_SHARE) {
    return { passes: false, text: `no test: it had had ${format(killed.size)} jobs, and ${format(left)} were left` }
  }
  const stops = sender.sent < JOBS ? `stops after ${format(sender.sent)}; ` : ''
  const again = repeated > 0 ? `, ${format(repeated)} done twice` : ''
  return { passes: lost === 0, text: `${stops}${format(lost)} lost${again}` }
}
