import { fork } from 'node:child_process'
import { once } from 'node:events'
import { start } from './crew.mjs'

export const title = 'A worker that eats millions, a round trip of 50 ms away: jobs a second with credit, beside plain PUSH/PULL'

export async function run (short) {
  // The grant doubles with each round trip until it is as large as it need be: that takes a second.
  const skip = 500_000
  const count = skip + (short ? 500_000 : 5_000_000)
  const rates = {}
  for (const flow of ['on', 'off']) rates[flow] = await measure(flow, count, skip)
  console.log(`${(rates.on / rates.off).toFixed(2)} of plain (${Math.round(rates.on)} and ${Math.round(rates.off)} jobs/s)`)
}

async function measure (flow, count, skip) {
  const options = { env: { ...process.env, ZEROPIPE_FLOW: flow } }
  const script = name => new URL(`../benchmark/${name}.mjs`, import.meta.url)
  const producer = fork(script('producer'), ['zeropipe', String(count), '16'], options)
  const [near] = await once(producer, 'message')
  const relay = start('relay', new URL(near).port, 25)
  const far = await relay.said()
  const consumer = fork(script('consumer'), ['zeropipe', String(count), far, String(skip)], options)
  const [[milliseconds]] = await Promise.all([once(consumer, 'message'), once(consumer, 'exit')])
  producer.send('done')
  await once(producer, 'exit')
  await relay.kill()
  return (count - skip) / milliseconds * 1000
}
