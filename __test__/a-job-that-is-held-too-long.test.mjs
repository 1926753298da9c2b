// ackTimeout: a job that a worker holds for too long goes to another, never to one that still holds it, and takes down no pool.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { pusher, requester } from './helpers/ends.mjs'
import { dialPull, giveBack, nack } from './helpers/flow.mjs'
import { happening, warning } from './helpers/happening.mjs'
import { open } from './helpers/open.mjs'
import { numbers } from './helpers/take.mjs'
import { until } from './helpers/until.mjs'

const limit = { timeout: 30_000 }
const never = new Promise(() => {})

/** A worker with so many slots, whose handler never settles for 'poison'. */
function pool (t, address, concurrency, begun, done) {
  const worker = open(t, { pull: { connect: address } })
  worker.pull(async ([text], { attempt }) => {
    begun.push({ text: String(text), attempt, worker })
    if (String(text) === 'poison') await never
    done.push(String(text))
  }, { concurrency })
  return worker
}

for (const workers of [1, 2, 3]) {
  test(`a poisonous job takes a slot of each of ${workers} workers and no more, and that is told`, limit, async t => {
    const { pipe, address } = await pusher(t, { ackTimeout: 300 })
    const begun = []
    const done = []
    for (let i = 0; i < workers; i++) pool(t, address, 3, begun, done)
    await pipe.ready({ pullers: workers })
    const told = warning('ZEROPIPE_WAITING')
    await pipe.push('poison')
    await until(() => begun.length === workers)
    assert.match((await told).message, /every worker has held it/)
    // Long enough for as many attempts again.
    const ticks = numbers(60)
    for (const text of ticks) {
      await pipe.push(text)
      await sleep(10)
    }
    await until(() => done.length === ticks.length)
    const attempts = begun.filter(({ text }) => text === 'poison')
    assert.deepEqual(attempts.map(({ attempt }) => attempt), Array.from({ length: workers }, (_, i) => i + 1))
    assert.equal(new Set(attempts.map(({ worker }) => worker)).size, workers)
    assert.deepEqual([pipe.stats().push.queued, pipe.stats().push.inFlight], [1, 0])
    // A worker that comes later has yet to try it.
    pool(t, address, 1, begun, done)
    await until(() => begun.some(({ text, attempt }) => text === 'poison' && attempt === workers + 1))
  })
}

test('a poisonous job is dead when as many workers hold it as it has attempts', limit, async t => {
  const { pipe, address } = await pusher(t, { ackTimeout: 200, maxAttempts: 2 })
  const dead = happening(pipe, 'dead')
  const begun = []
  const done = []
  for (let i = 0; i < 3; i++) pool(t, address, 2, begun, done)
  await pipe.ready({ pullers: 3 })
  await pipe.push('poison')
  const { attempt, error } = await dead
  assert.deepEqual([attempt, error.message], [2, 'held for longer than ackTimeout'])
  for (const text of numbers(30)) await pipe.push(text)
  await pipe.drain()
  assert.equal(done.length, 30)
})

test('a poisonous request takes a slot of each replier and no more, and others are answered', limit, async t => {
  const { pipe, address } = await requester(t, { ackTimeout: 300, maxAttempts: 2 })
  let poisoned = 0
  for (let i = 0; i < 2; i++) {
    const replier = open(t, { reply: { connect: address } })
    replier.reply(async ([text]) => {
      if (String(text) === 'poison') {
        poisoned++
        await never
      }
      return text
    }, { concurrency: 3 })
  }
  await pipe.ready({ repliers: 2 })
  const poison = pipe.request('poison')
  poison.catch(() => {})
  for (const text of numbers(40)) {
    assert.equal(String(await pipe.request(text)), text)
    await sleep(10)
  }
  await assert.rejects(poison, { code: 'ERR_ZEROPIPE_JOB_FAILED', message: 'held for longer than ackTimeout' })
  assert.equal(poisoned, 2)
})

for (const [how, take] of Object.entries({
  'a loop': async (worker, work) => { for await (const job of worker.pull({ prefetch: 20 })) await work(job) },
  'a pool': (worker, work) => worker.pull(work, { prefetch: 20, concurrency: 2 })
})) {
  test(`jobs that only wait in line at ${how} that is busy don't lapse`, limit, async t => {
    const { pipe, address } = await pusher(t, { ackTimeout: 600 })
    const worker = open(t, { pull: { connect: address } })
    const done = []
    const taking = take(worker, async ([text]) => {
      await sleep(150)
      done.push(String(text))
    })
    for (const text of numbers(20)) await pipe.push(text)
    await until(() => pipe.stats().push.inFlight >= 10)
    await pipe.drain()
    assert.deepEqual([...done].sort((a, b) => a - b), numbers(20))
    assert.deepEqual([pipe.stats().push.redelivered, pipe.stats().push.done], [0, 20])
    await worker.close()
    await taking
  })
}

test('a job that others pass lapses though its worker is busy', limit, async t => {
  const { pipe, address } = await pusher(t, { ackTimeout: 300 })
  const begun = []
  const done = []
  pool(t, address, 2, begun, done)
  await pipe.ready({ pullers: 1 })
  await pipe.push('poison')
  let isOver = false
  const feeding = (async () => {
    for (; !isOver; await sleep(5)) await pipe.push('other')
  })()
  const other = pool(t, address, 1, begun, done)
  await until(() => begun.some(({ text, attempt, worker }) => text === 'poison' && attempt === 2 && worker === other))
  isOver = true
  await feeding
})

test('a job is not sent again to a peer that holds it, whatever another says of it, until that peer lets go', limit, async t => {
  const { pipe, address } = await pusher(t, { ackTimeout: 100 })
  const first = await dialPull(t, address)
  first.credit(10)
  await pipe.push('job')
  await first.get(1)
  const second = await dialPull(t, address)
  second.credit(1)
  await second.get(1)
  second.send(giveBack(1))
  await second.ask()
  await first.ask(3)
  assert.equal(first.jobs.length, 1)
  // It has failed there after all, so it may be tried there again.
  first.send(nack(1, 'late'))
  await first.get(2)
  assert.deepEqual(first.jobs[1].frames, ['job'])
  first.ack(2)
  await pipe.drain()
})
