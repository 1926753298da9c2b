// Queues `count` jobs for nobody, then has them pulled; says how much memory that took: before, with all of them queued, and after. Run with --expose-gc.
import { setTimeout } from 'node:timers/promises'
import { start } from '../process.mjs'
import { args, makeJob, part, say } from './side.mjs'

const { pipe } = await import('../../index.js')
const { count } = args
const own = pipe({ push: { bind: 'tcp://127.0.0.1:*' }, highWaterMark: { messages: 2 * count, bytes: 2 ** 31 } })
await own.ready()
const job = makeJob(args)
for (let left = 1000; left > 0; left--) await own.push(job) // until all code is warm

/** What is held, once what can be freed is. */
async function held () {
  for (let times = 5; times > 0; times--) {
    globalThis.gc()
    await setTimeout(100)
  }
  return process.memoryUsage().rss
}

const before = await held()
for (let left = count; left > 0; left--) await own.push(job)
const queued = await held()
const consumer = start('consumer', { library: 'zeropipe', connect: own.stats().push.bound[0], count: count + 1000 })
await consumer.said()
await consumer.said()
await own.drain()
const after = await held()
say({ queued: queued - before, after: after - before })
consumer.say('done')
await consumer.ended
await own.close()
part()
