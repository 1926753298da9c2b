// npm run bench:pairs -- OTHER [--only TEXT] [--rounds N]: this checkout beside another one of zeropipe, which must be built. Each round runs both in turn,
// forth and back (A B B A), so that a machine that gets slower takes as much from both. Prints how many times the other's figure this one's is, with the
// standard error of that mean.
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import * as own from './measure.mjs'

const { values: { only, rounds }, positionals: [place] } = parseArgs({
  allowPositionals: true,
  options: { only: { type: 'string', default: '' }, rounds: { type: 'string', default: '3' } }
})
const other = await import(resolve(place, 'benchmark/measure.mjs'))

const jobs = (count, options) => async ({ throughput }) => (await throughput({ library: 'zeropipe', count, ...options })).rate
const asks = (count, options, pick) => async ({ roundTrips }) => pick(await roundTrips({ library: 'zeropipe', size: 16, count, ...options }))

/** What both do; more is better, but for times. */
const cases = {
  '16 B': jobs(10_000_000, { size: 16 }),
  '1 KiB': jobs(3_000_000, { size: 1024 }),
  '64 KiB': jobs(60_000, { size: 65_536 }),
  '1 MiB': jobs(4_000, { size: 2 ** 20 }),
  'one producer to 8 workers': jobs(10_000_000, { size: 16, consumers: 8 }),
  '8 producers to one worker': jobs(10_000_000, { size: 16, producers: 8 }),
  '1,000 workers': jobs(20_000_000, { size: 16, consumers: 2, each: 500 }),
  '64 requests in flight': asks(400_000, { inFlight: 64 }, ({ rate }) => rate),
  'round trip of a push, p50 (time)': asks(20_000, { pushes: true }, ({ p50 }) => p50),
  'round trip of a push, p99 (time)': asks(20_000, { pushes: true }, ({ p99 }) => p99),
  'loading (time)': ({ loadTime }) => loadTime({ library: 'zeropipe' })
}

for (const [name, take] of Object.entries(cases).filter(([name]) => name.includes(only))) {
  const ratios = []
  for (let round = 0; round < Number(rounds); round++) {
    const [first, second, third, fourth] = [await take(own), await take(other), await take(other), await take(own)]
    ratios.push(first / second, fourth / third)
  }
  const mean = ratios.reduce((sum, ratio) => sum + ratio, 0) / ratios.length
  const variance = ratios.reduce((sum, ratio) => sum + (ratio - mean) ** 2, 0) / (ratios.length - 1)
  console.log(`${name.padEnd(36)} ${mean.toFixed(3)} ± ${Math.sqrt(variance / ratios.length).toFixed(3)}`)
}
