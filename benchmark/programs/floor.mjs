// What JavaScript takes without anything behind it: pushes that are only packed into a slab, and a loop over results that are there already. Says how
// many a second each of them makes.
import { args, makeJob, part, say } from './side.mjs'

const SLAB = 64 * 1024
const { count, size } = args
const slab = Buffer.alloc(SLAB)
const View = Buffer[Symbol.species]
const accepted = Promise.resolve()
const job = makeJob(args)
let at = 0

function push (job) {
  if (at + job.length > SLAB) at = 0
  slab.set(job, at)
  at += job.length
  return accepted
}

const jobs = left => ({
  next () {
    if (left-- === 0) return Promise.resolve({ value: undefined, done: true })
    if (at + size > SLAB) at = 0
    const start = at
    at += size
    return Promise.resolve({ value: [new View(slab.buffer, start, size)], done: false })
  },
  [Symbol.asyncIterator] () { return this }
})

async function pushAll (count) {
  const began = performance.now()
  for (let left = count; left > 0; left--) await push(job)
  return count / (performance.now() - began) * 1000
}

async function pullAll (count) {
  const began = performance.now()
  let came = 0
  for await (const [frame] of jobs(count)) if (frame !== undefined) came++
  return came / (performance.now() - began) * 1000
}

// Once to warm up.
await pushAll(count / 4)
await pullAll(count / 4)
say({ push: await pushAll(count), pull: await pullAll(count) })
part()
