import { measure } from '../benchmark/measure.mjs'
import { start } from './crew.mjs'

export const title = 'A worker that eats millions, a round trip of 50 ms away: jobs a second with credit, beside plain PUSH/PULL'

export async function run (short) {
  // The grant grows with each round trip until it is as large as it need be: that takes a second.
  const skip = 500_000
  const count = skip + (short ? 500_000 : 5_000_000)
  const rates = {}
  for (const flow of ['on', 'off']) rates[flow] = await measureFar(flow, count, skip)
  console.log(`${(rates.on / rates.off).toFixed(2)} of plain (${Math.round(rates.on)} and ${Math.round(rates.off)} jobs/s)`)
}

async function measureFar (flow, count, skip) {
  let relay
  const via = async near => {
    relay = start('relay', new URL(near).port, 25)
    return await relay.said()
  }
  const rate = await measure({ count, size: 16, skip, env: { ZEROPIPE_FLOW: flow }, via })
  await relay.kill()
  return rate
}
