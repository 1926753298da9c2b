// npm run bench [-- --short]: zeropipe beside zeromq.js in the same run, in turn, each side in a process of its own: jobs a second from one
// process to another, then requests that are answered. Prints medians and ratios; bare times mean nothing on a shared machine.
import { parseArgs } from 'node:util'
import { measure, measureRequests, median } from './measure.mjs'

const { short } = parseArgs({ options: { short: { type: 'boolean', default: false } } }).values
const rounds = short ? 1 : 5
const libraries = ['zeropipe', 'zeromq']
const share = count => short ? count / 10 : count

/** What `take(library)` gives, as many times as there are rounds, for each library in turn. */
async function inTurn (take) {
  const taken = { zeropipe: [], zeromq: [] }
  for (let round = 0; round < rounds; round++) {
    for (const library of libraries) taken[library].push(await take(library))
  }
  return libraries.map(library => taken[library])
}

const spread = list => `${(100 * (Math.max(...list) - Math.min(...list)) / median(list)).toFixed(0)} %`
const whole = number => Math.round(number).toLocaleString('en-US')
const row = cells => console.log(`| ${cells.join(' | ')} |`)

const jobs = [
  { size: 16, counts: { zeropipe: 4_000_000, zeromq: 500_000 } },
  { size: 128, counts: { zeropipe: 4_000_000, zeromq: 500_000 } },
  { size: 1024, counts: { zeropipe: 1_000_000, zeromq: 300_000 } },
  { size: 64 * 1024, counts: { zeropipe: 20_000, zeromq: 20_000 } },
  { size: 1024 * 1024, counts: { zeropipe: 1_500, zeromq: 1_500 } }
]
row(['bytes a job', 'zeropipe jobs/s', 'spread', 'zeromq.js jobs/s', 'spread', 'ratio'])
row(Array(6).fill('---'))
for (const { size, counts } of jobs) {
  const [ours, theirs] = await inTurn(library => measure({ library, count: share(counts[library]), size }))
  const ratio = median(ours) / median(theirs)
  row([size, whole(median(ours)), spread(ours), whole(median(theirs)), spread(theirs), ratio.toFixed(2)])
}

const requests = [
  { inFlight: 64, counts: { zeropipe: 400_000, zeromq: 80_000 } },
  { inFlight: 1, counts: { zeropipe: 20_000, zeromq: 20_000 } }
]
console.log()
row(['16 B requests in flight', 'zeropipe requests/s', 'zeromq.js requests/s', 'ratio', 'zeropipe p50, p99 ms', 'zeromq.js p50, p99 ms', 'ratio of p50'])
row(Array(7).fill('---'))
for (const { inFlight, counts } of requests) {
  const [ours, theirs] = await inTurn(library => measureRequests({ library, count: share(counts[library]), size: 16, inFlight }))
  const of = (list, name) => median(list.map(result => result[name]))
  const times = list => `${of(list, 'p50').toFixed(3)}, ${of(list, 'p99').toFixed(3)}`
  const [rate, p50] = ['rate', 'p50'].map(name => of(ours, name) / of(theirs, name))
  row([inFlight, whole(of(ours, 'rate')), whole(of(theirs, 'rate')), rate.toFixed(2), times(ours), times(theirs), p50.toFixed(2)])
}
