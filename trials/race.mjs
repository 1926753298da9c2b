// One pusher, two workers: how long it takes until all jobs are done, beside the least it could take.
import { once } from 'node:events'
import { start, sleep } from './crew.mjs'

/** `paces` in milliseconds a job; the second worker joins `lateBy` milliseconds after the first has begun. */
export async function race ({ count, paces, lateBy = 0 }) {
  for (const library of ['zeropipe', 'zeromq']) {
    const { milliseconds, done } = await measure(library, count, paces, lateBy)
    // A timer is never exact: what the jobs took in this very run is what they could not have taken less of.
    const real = paces.map((pace, index) => mean(done[index]) ?? pace)
    const ratio = milliseconds / least(count, real, lateBy)
    console.log(`${library.padEnd(8)} ${ratio.toFixed(2)} times the least possible (each worker did: ${done.map(list => list.length).join(', ')})`)
  }
}

const mean = list => list.length > 0 ? list.reduce((sum, took) => sum + took, 0) / list.length : undefined

/** How long all of it took, and each job of each worker. */
async function measure (library, count, paces, lateBy) {
  const producer = start('producer', library, count)
  const address = await producer.said()
  const workers = []
  const done = paces.map(() => [])
  let left = count
  let tell
  const finished = new Promise(resolve => { tell = resolve })
  const join = async index => {
    const worker = start('worker', library, paces[index], address)
    await worker.said()
    workers.push(worker)
    worker.child.on('message', ({ at, took }) => {
      done[index].push(took)
      if (--left === 0) tell(at)
    })
  }
  await join(0)
  if (lateBy === 0) await join(1)
  const began = Date.now()
  producer.child.send('go')
  if (lateBy > 0) await sleep(lateBy).then(() => join(1))
  const ended = await finished
  producer.child.send('done')
  await once(producer.child, 'exit')
  await Promise.all(workers.map(worker => worker.kill()))
  return { milliseconds: ended - began, done }
}

/** Each job to whoever would have done it first. */
function least (count, paces, lateBy) {
  const free = paces.map((_, index) => index === 0 ? 0 : lateBy)
  let last = 0
  for (let job = 0; job < count; job++) {
    const best = paces.reduce((best, pace, index) => free[index] + pace < free[best] + paces[best] ? index : best, 0)
    free[best] += paces[best]
    last = Math.max(last, free[best])
  }
  return last
}
