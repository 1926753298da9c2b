// What is measured, each once: one run, of one library.
import { randomUUID } from 'node:crypto'
import { readdirSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { start } from './process.mjs'

export const median = list => list.toSorted((a, b) => a - b)[list.length >> 1]

const root = fileURLToPath(new URL('..', import.meta.url))
const places = {
  tcp: () => 'tcp://127.0.0.1:*',
  ipc: () => `ipc://${join(tmpdir(), `bench-${randomUUID()}`)}`,
  inproc: () => `inproc://bench-${randomUUID()}`
}

/** Jobs a second of `library` from one process to another, after the first `skip` jobs: see `throughput`. */
export async function measure (options) {
  return (await throughput({ library: 'zeropipe', ...options })).rate
}

/**
 * Jobs a second, and microseconds of CPU time a job in all processes together, from so many producers to so many consumers, which are `each` as many
 * workers; over so many `endpoints` of one consumer, if that is told. Jobs are `size` bytes, or `text`, in each of `frames`; pulled in batches of
 * `batch`. Producers and consumers are threads instead of processes if `thread`. `via(address)` may give consumers another address to connect to, and is
 * awaited.
 */
export async function throughput ({
  library, count, skip = 0, place = 'tcp', producers = 1, consumers = 1, each = 1, endpoints, thread = false, env, via = address => address, ...job
}) {
  const common = { library, ...job }
  const bind = endpoints === undefined ? places[place]() : Array.from({ length: endpoints }, places[place])
  const isAlone = consumers * each === 1
  const makers = []
  const takers = []
  const make = where => makers.push(start('producer', { ...common, ...where, count: count / producers, consumers: consumers * each }, { env, thread }))
  const take = where => takers.push(start('consumer', { ...common, ...where, skip, each, count: isAlone ? count : undefined }, { env, thread }))
  if (producers === 1 && endpoints === undefined) {
    make({ bind })
    const connect = await via(await makers[0].said())
    for (let left = consumers; left > 0; left--) take({ connect })
    await Promise.all(takers.map(taker => taker.said()))
  } else {
    take({ bind })
    const connect = await takers[0].said()
    for (let left = producers; left > 0; left--) make({ connect })
    await Promise.all(makers.map(maker => maker.said()))
  }
  const tallies = await Promise.race([all(takers, count), ...[...makers, ...takers].map(side => side.failed)])
  const spent = await Promise.all(makers.map(maker => {
    maker.say('done')
    return maker.said()
  }))
  takers.forEach(taker => taker.say('done'))
  await Promise.all([...makers, ...takers].map(side => side.ended))
  const [began, ended] = [Math.min(...tallies.map(tally => tally.began)), Math.max(...tallies.map(tally => tally.ended))]
  const cpu = [...tallies.map(tally => tally.cpu), ...spent].reduce((sum, own) => sum + own)
  return { rate: (count - skip) / (ended - began) * 1000, cpu: cpu / count }
}

/** What each taker says last, once they have all jobs. */
function all (takers, count) {
  const tallies = takers.map(() => ({ came: 0, began: Infinity, ended: 0, cpu: 0 }))
  return new Promise(resolve => takers.forEach((taker, index) => taker.listen(tally => {
    tallies[index] = tally
    if (tallies.reduce((sum, { came }) => sum + came, 0) >= count) resolve(tallies)
  })))
}

/**
 * Requests a second of `library`, so many at a time, and how long half of them, all but a hundredth and all but a thousandth took at most, in
 * milliseconds; with `pushes`, jobs that are pushed back. All on one core, if it is told which; and with so many other processes that keep cores busy.
 */
export async function roundTrips ({ library, count, size, inFlight = 1, pushes = false, core, burners = 0 }) {
  const burning = Array.from({ length: burners }, () => start('burner', {}))
  await Promise.all(burning.map(burner => burner.said()))
  const replier = start('replier', { library, pushes }, { core })
  const address = await replier.said()
  const requester = start('requester', { library, count, size, inFlight, pushes, address }, { core })
  const result = await requester.said()
  await requester.ended
  for (const side of [replier, ...burning]) side.say('done')
  await Promise.all([replier, ...burning].map(side => side.ended))
  return result
}

/** Jobs a second within one thread. */
export const within = ({ place, ...args }) => say('both', { ...args, place: places[place]() })

/** Jobs a second of JavaScript alone: see programs/floor.mjs. */
export const floor = ({ count, size }) => say('floor', { count, size })

/** Microseconds of CPU time a second for nothing. */
export const idle = ({ library, milliseconds }) => say('idle', { library, milliseconds })

/** What a program says at its end. */
async function say (name, args, options) {
  const program = start(name, args, options)
  const said = await program.said()
  await program.ended
  return said
}

/** Bytes that so many queued jobs take, and that are left when they are gone. */
export const queueMemory = ({ count, size }) => say('queue', { library: 'zeropipe', count, size }, { gc: true })

const installed = {
  zeropipe: ['index.js', 'index.d.ts', 'package.json', 'lib', ...readdirSync(root).filter(name => name.endsWith('.node'))].map(name => join(root, name)),
  zeromq: [join(root, 'node_modules/zeromq')]
}
const entry = { zeropipe: join(root, 'index.js'), zeromq: join(root, 'node_modules/zeromq') }

/** Milliseconds until the library is loaded. */
export const loadTime = ({ library }) => say('load', { path: entry[library] })

/** Bytes of what npm installs of it on this platform. */
export function installedSize ({ library }) {
  const size = path => {
    const stats = statSync(path)
    return stats.isDirectory() ? readdirSync(path).reduce((sum, name) => sum + size(join(path, name)), 0) : stats.size
  }
  return installed[library].reduce((sum, path) => sum + size(path), 0)
}
