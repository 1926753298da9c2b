// What is compared. Each case is measured for each library in turn; a target is a ratio to zeromq.js in the same run, or an amount
// where `only` zeropipe is measured.
import { installedSize, loadTime, queueMemory, roundTrips, throughput } from './measure.mjs'

const KIB = 1024
const MIB = 1024 * KIB

/** Counts for each library that take about as long. */
const jobs = (zeropipe, zeromq) => ({ zeropipe, zeromq })
const small = jobs(3_000_000, 400_000)

/** What all cases share that look at the same runs; `pick` says what of them they look at. */
const pushing = (counts, options, pick) => ({
  key: JSON.stringify([counts, options]),
  take: ({ library, share }) => throughput({ library, count: Math.ceil(counts[library] * share / 8) * 8, ...options }),
  pick
})

const rate = (name, counts, options, atLeast) => ({
  group: 'Jobs a second',
  name,
  unit: '/s',
  atLeast,
  ...pushing(counts, options, ({ rate }) => rate)
})

const trip = (name, what, counts, options, atMost) => ({
  group: 'Round trip of 16 B, milliseconds',
  name: `${name}, ${what}`,
  unit: 'ms',
  atMost,
  key: JSON.stringify([counts, options]),
  take: async ({ library, share }) => await roundTrips({ library, size: 16, count: counts * share, ...options }),
  pick: result => result[what]
})

const requests = (inFlight, counts, atLeast) => ({
  group: 'Requests a second',
  name: `${inFlight} in flight, 16 B`,
  unit: '/s',
  atLeast,
  take: async ({ library, share }) => (await roundTrips({ library, size: 16, inFlight, count: Math.ceil(counts[library] * share) })).rate
})

const pinned = process.platform === 'linux' ? [trip('push and pushed back, on one core', 'p50', 20_000, { pushes: true, core: 0 }, 0.7)] : []

export const cases = [
  rate('16 B', small, { size: 16 }, 15),
  rate('128 B', small, { size: 128 }, 12),
  rate('1 KiB', jobs(1_000_000, 250_000), { size: KIB }, 5),
  rate('16 KiB', jobs(60_000, 60_000), { size: 16 * KIB }, 1.5),
  rate('64 KiB', jobs(20_000, 20_000), { size: 64 * KIB }, 1.2),
  rate('1 MiB', jobs(1_500, 1_500), { size: MIB }, 0.9),
  rate('16 B, ipc', small, { size: 16, place: 'ipc' }),
  rate('1 KiB, ipc', jobs(1_000_000, 250_000), { size: KIB, place: 'ipc' }),
  rate('16 characters', small, { size: 16, text: true }),
  rate('3 frames of 16 B', jobs(1_000_000, 250_000), { size: 16, frames: 3 }),
  rate('16 B, a thousand pushes at a time', small, { size: 16, isAwaited: false }),
  rate('16 B, one producer to 8 workers', small, { size: 16, consumers: 8 }, 10),
  rate('16 B, 8 producers to one worker', small, { size: 16, producers: 8 }, 10),
  {
    group: 'CPU time a job, microseconds, all threads of both sides',
    name: '16 B',
    unit: 'us',
    atMost: 0.1,
    ...pushing(small, { size: 16 }, ({ cpu }) => cpu)
  },
  requests(64, jobs(400_000, 80_000), 5),
  requests(256, jobs(400_000, 80_000)),
  trip('a request', 'p50', 20_000, {}, 0.9),
  trip('a request', 'p99', 20_000, {}),
  trip('push and pushed back', 'p50', 20_000, { pushes: true }, 0.8),
  trip('push and pushed back', 'p99', 20_000, { pushes: true }, 0.9),
  trip('push and pushed back', 'p999', 20_000, { pushes: true }),
  trip('push and pushed back, busy cores', 'p50', 5_000, { pushes: true, burners: 2 }),
  trip('push and pushed back, busy cores', 'p99', 5_000, { pushes: true, burners: 2 }),
  ...pinned,
  { group: 'Loading', name: 'milliseconds', unit: 'ms', atMost: 1 / 3, take: loadTime },
  { group: 'Installed size', name: 'one platform', unit: 'B', atMost: 1 / 15, take: installedSize },
  ...['queued', 'after'].map((what, index) => ({
    group: 'Memory',
    name: ['1,000,000 jobs of 100 B in the queue', 'once they are delivered'][index],
    unit: 'B',
    only: 'zeropipe',
    atMost: [200e6, 20e6][index],
    key: 'memory',
    take: async ({ share }) => await queueMemory({ count: 1_000_000 * share, size: 100 }),
    pick: result => result[what]
  }))
]
