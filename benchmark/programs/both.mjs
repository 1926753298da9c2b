// Pushes to itself, in one thread; says how many jobs a second that makes.
import { args, library, makeJob, part, say } from './side.mjs'

const { count, place } = args
const out = await library.openPush({ ...args, bind: place })
const back = await library.openPull({ ...args, connect: out.address ?? place })
await out.ready(1)
const job = makeJob(args)
let [came, began] = [0, 0]
const pulling = (async () => {
  for await (const [frame] of back.jobs) {
    if (came++ === 0) began = performance.now()
    if (came === count || frame === undefined) return
  }
})()
for (let left = count; left > 0; left--) await out.push(job)
await pulling
say(count / (performance.now() - began) * 1000)
await Promise.all([out.close(), back.close()])
part()
