// One pusher, two workers: how long it takes until all jobs are done, beside the least it could take.
import { once } from 'node:events'
import { start, sleep } from './crew.mjs'

/** `paces` in milliseconds a job; the second worker joins `lateBy` milliseconds after the first has begun. */
export async function race ({ count, paces, lateBy = 0 }) {
  const ideal = least(count, await Promise.all(paces.map(realPace)), lateBy)
  for (const library of ['zeropipe', 'zeromq']) {
    const took = await measure(library, count, paces, lateBy)
    console.log(`${library.padEnd(8)} ${(took.milliseconds / ideal).toFixed(2)} times the least possible (each worker did: ${took.shares.join(', ')})`)
  }
}

async function measure (library, count, paces, lateBy) {
  const producer = start('producer', library, count)
  const address = await producer.said()
  const workers = []
  const join = async pace => {
    const worker = start('worker', library, address, pace)
    await worker.said()
    workers.push(worker)
  }
  await join(paces[0])
  if (lateBy === 0) await join(paces[1])
  let began
  const done = []
  const finished = new Promise(resolve => {
    const count1 = worker => worker.child.on('message', at => {
      done.push(worker)
      if (done.length === count) resolve(at)
    })
    workers.forEach(count1)
    producer.child.send('go')
    began = Date.now()
    if (lateBy > 0) sleep(lateBy).then(() => join(paces[1])).then(() => count1(workers[1]))
  })
  const ended = await finished
  producer.child.send('done')
  await once(producer.child, 'exit')
  await Promise.all(workers.map(worker => worker.kill()))
  return { milliseconds: ended - began, shares: workers.map(worker => done.filter(other => other === worker).length) }
}

/** What a timer of so many milliseconds takes on this machine, on average. */
async function realPace (milliseconds) {
  const rounds = Math.max(3, Math.ceil(200 / milliseconds))
  const began = performance.now()
  for (let round = 0; round < rounds; round++) await sleep(milliseconds)
  return (performance.now() - began) / rounds
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
