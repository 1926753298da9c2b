// What is compared. Each case is measured for each of its `sides` in turn, zeropipe and zeromq.js unless it says otherwise; a target is a ratio to the
// second of them in the same run, or an amount where there is no second.
import { floor, idle, installedSize, loadTime, queueMemory, roundTrips, throughput, within } from './measure.mjs'

const KIB = 1024
const MIB = 1024 * KIB

/** Counts for each library that take about as long, some seconds: how programs warm up is not what is measured. Those of other sides are zeropipe's. */
const jobs = (zeropipe, zeromq) => ({ zeropipe, zeromq })
const small = jobs(10_000_000, 1_000_000)
const middling = jobs(3_000_000, 750_000)
/** A thousand workers take a second until each has shown how fast it is. */
const many = jobs(30_000_000)
const countOf = (counts, side, share) => Math.ceil((counts[side] ?? counts.zeropipe) * share / 8) * 8

/** What all cases share that look at the same runs; `pick` says what of them they look at. */
const pushing = (counts, options, pick) => ({
  key: JSON.stringify([counts, options]),
  take: ({ side, share }) => throughput({ library: side, count: countOf(counts, side, share), ...options }),
  pick
})

const rate = (name, counts, options, atLeast) => ({
  group: 'Jobs a second',
  name,
  unit: '/s',
  atLeast,
  ...pushing(counts, options, ({ rate }) => rate)
})

/** Beside another side than zeromq.js, which is measured only where somebody asks for it. */
const beside = (side, name, options, atLeast) => ({ ...rate(name, small, options, atLeast), sides: ['zeropipe', side], asked: side })

/** In another runtime, beside zeromq.js in Node. */
const inside = runtime => ({ ...rate(`16 B in ${runtime}`, small, { size: 16 }), sides: [runtime, 'zeromq'], asked: runtime })

const inOneThread = (name, place) => ({
  group: 'Jobs a second',
  name,
  unit: '/s',
  take: ({ side, share }) => within({ library: side, place, size: 16, count: countOf(jobs(3_000_000, 500_000), side, share) })
})

/** With more of something, beside zeropipe with fewer: `optionsOf` a side. */
const growth = (name, fewer, optionsOf, atLeast) => ({
  group: 'Jobs a second, as things grow',
  name: `16 B ${name}`,
  unit: '/s',
  sides: ['zeropipe', fewer],
  atLeast,
  take: ({ side, share }) => throughput({ library: 'zeropipe', count: countOf(many, side, share), size: 16, ...optionsOf(side === fewer) }),
  pick: ({ rate }) => rate
})

/** How many workers, of two processes where there are more than one, beside ten of them. */
const workers = (count, atLeast) => growth(`to ${count.toLocaleString('en-US')} workers`, 'ten', isFewer => {
  const workers = isFewer ? 10 : count
  const consumers = Math.min(workers, 2)
  return { consumers, each: workers / consumers }
}, atLeast)

/** Over that many endpoints, beside one. */
const endpoints = count => growth(`over ${count} endpoints`, 'one', isFewer => ({ endpoints: isFewer ? 1 : count }))

/** How near that is to what JavaScript can do at all. */
const near = what => ({
  group: 'Jobs a second, beside JavaScript with nothing behind it',
  name: { push: 'awaited pushes', pull: 'a loop' }[what],
  unit: '/s',
  sides: ['zeropipe', 'floor'],
  key: 'floor',
  take: async ({ side, share }) => {
    if (side === 'floor') return await floor({ count: 10_000_000 * share, size: 16 })
    const { rate } = await throughput({ library: side, count: countOf(small, side, share), size: 16 })
    return { push: rate, pull: rate }
  },
  pick: result => result[what]
})

const trip = (name, what, counts, options, atMost) => ({
  group: 'Round trip of 16 B, milliseconds',
  name: `${name}, ${what}`,
  unit: 'ms',
  atMost,
  key: JSON.stringify([counts, options]),
  take: ({ side, share }) => roundTrips({ library: side, size: 16, count: counts * share, ...options }),
  pick: result => result[what]
})

const requests = (inFlight, counts, atLeast) => ({
  group: 'Requests a second',
  name: `${inFlight} in flight, 16 B`,
  unit: '/s',
  atLeast,
  take: ({ side, share }) => roundTrips({ library: side, size: 16, inFlight, count: Math.ceil(counts[side] * share) }),
  pick: ({ rate }) => rate
})

const pinned = process.platform === 'linux' ? [trip('push and pushed back, on one core', 'p50', 20_000, { pushes: true, core: 0 }, 0.7)] : []

export const cases = [
  rate('16 B', small, { size: 16 }, 15),
  rate('128 B', small, { size: 128 }, 12),
  rate('1 KiB', middling, { size: KIB }, 5),
  rate('16 KiB', jobs(200_000, 150_000), { size: 16 * KIB }, 1.5),
  rate('64 KiB', jobs(60_000, 60_000), { size: 64 * KIB }, 1.2),
  rate('1 MiB', jobs(4_000, 4_000), { size: MIB }, 0.9),
  rate('16 B, ipc', small, { size: 16, place: 'ipc' }),
  rate('1 KiB, ipc', middling, { size: KIB, place: 'ipc' }),
  rate('16 characters', small, { size: 16, text: true }),
  rate('3 frames of 16 B', middling, { size: 16, frames: 3 }),
  rate('16 B, a thousand pushes at a time', small, { size: 16, isAwaited: false }),
  rate('16 B, one producer to 8 workers', small, { size: 16, consumers: 8 }, 10),
  rate('16 B, 8 producers to one worker', small, { size: 16, producers: 8 }, 10),
  rate('16 B, between two threads', small, { size: 16, place: 'inproc', thread: true }),
  inOneThread('16 B, within a thread, tcp', 'tcp'),
  inOneThread('16 B, within a thread, inproc', 'inproc'),
  beside('libzmq', '16 B, for await', { size: 16 }, 0.75),
  beside('libzmq', '16 B, in batches', { size: 16, batch: 1000 }, 0.9),
  beside('libzmq', '1 KiB, for await', { size: KIB }, 1.2),
  beside('crate', '16 B', { size: 16 }),
  beside('crate', '1 KiB', { size: KIB }),
  inside('bun'),
  inside('deno'),
  workers(1),
  workers(100),
  workers(1000, 0.8),
  ...[2, 8, 64].map(endpoints),
  near('push'),
  near('pull'),
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
  { group: 'Loading', name: 'milliseconds', unit: 'ms', atMost: 1 / 3, take: ({ side }) => loadTime({ library: side }) },
  {
    group: 'CPU time a second for nothing',
    name: 'a push and a pull, connected',
    unit: 'us',
    take: ({ side, share }) => idle({ library: side, milliseconds: 5000 * share })
  },
  { group: 'Installed size', name: 'one platform', unit: 'B', atMost: 1 / 15, take: ({ side }) => installedSize({ library: side }) },
  ...['queued', 'after'].map((what, index) => ({
    group: 'Memory',
    name: ['1,000,000 jobs of 100 B in the queue', 'once they are delivered'][index],
    unit: 'B',
    sides: ['zeropipe'],
    atMost: [200e6, 20e6][index],
    key: 'memory',
    take: ({ share }) => queueMemory({ count: 1_000_000 * share, size: 100 }),
    pick: result => result[what]
  }))
]
