import { fork } from 'node:child_process'
import { once } from 'node:events'

export const title = 'What acknowledgement costs: jobs a second with flow, beside plain PUSH/PULL in the same run'

const cases = [[16, 4_000_000], [1024, 1_000_000], [64 * 1024, 20_000]]

export async function run (short) {
  for (const [size, full] of cases) {
    const count = short ? full / 10 : full
    const rates = { on: [], off: [] }
    for (let round = 0; round < (short ? 3 : 7); round++) {
      for (const flow of ['on', 'off']) rates[flow].push(await measure(flow, count, size))
    }
    const [on, off] = [median(rates.on), median(rates.off)]
    console.log(`${size} B: ${(on / off).toFixed(2)} (${Math.round(on)} and ${Math.round(off)} jobs/s)`)
  }
}

const median = list => list.toSorted((a, b) => a - b)[list.length >> 1]

/** Jobs a second from one process to another. */
async function measure (flow, count, size) {
  const options = { env: { ...process.env, ZEROPIPE_FLOW: flow } }
  const script = name => new URL(`../benchmark/${name}.mjs`, import.meta.url)
  const producer = fork(script('producer'), ['zeropipe', count, size].map(String), options)
  const [address] = await once(producer, 'message')
  const consumer = fork(script('consumer'), ['zeropipe', String(count), address], options)
  const [[milliseconds]] = await Promise.all([once(consumer, 'message'), once(consumer, 'exit')])
  producer.send('done')
  await once(producer, 'exit')
  return count / milliseconds * 1000
}
