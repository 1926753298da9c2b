import { measure, median } from '../benchmark/measure.mjs'

export const title = 'What acknowledgement costs: jobs a second with flow, beside plain PUSH/PULL in the same run'

const cases = [[16, 4_000_000], [1024, 1_000_000], [64 * 1024, 20_000]]

export async function run (short) {
  for (const [size, full] of cases) {
    const count = short ? full / 10 : full
    const rates = { on: [], off: [] }
    for (let round = 0; round < (short ? 1 : 7); round++) {
      for (const flow of ['on', 'off']) rates[flow].push(await measure({ count, size, env: { ZEROPIPE_FLOW: flow } }))
    }
    const [on, off] = [median(rates.on), median(rates.off)]
    console.log(`${size} B: ${(on / off).toFixed(2)} (${Math.round(on)} and ${Math.round(off)} jobs/s)`)
  }
}
