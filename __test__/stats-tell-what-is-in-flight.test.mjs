import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pusher } from './helpers/ends.mjs'
import { happening } from './helpers/happening.mjs'
import { open } from './helpers/open.mjs'
import { inprocPlace } from './helpers/place.mjs'
import { dial } from './helpers/raw-peer.mjs'
import { standing, turns } from './helpers/settle.mjs'
import { numbers, take } from './helpers/take.mjs'
import { until } from './helpers/until.mjs'
import { loop, worker } from './helpers/worker.mjs'

const limit = { timeout: 30_000 }

/** What a pusher counts. */
const counts = pipe => {
  const { queued, inFlight, done, redelivered, dead } = pipe.stats().push
  return { queued, inFlight, done, redelivered, dead }
}
/** What it counts of a peer. */
const peer = (pipe, name) => {
  const { flow, credit, inFlight, done, redelivered, jobs } = pipe.stats().push.peers.find(({ identity }) => identity === name)
  return { flow, credit, inFlight, done, redelivered, jobs }
}
const nothing = { queued: 0, inFlight: 0, done: 0, redelivered: 0, dead: 0 }

for (const place of ['tcp://127.0.0.1:*', inprocPlace()]) {
  const how = `(${place.slice(0, 3)})`

  test(`a job is queued, then in flight, then done ${how}`, limit, async t => {
    const { pipe, address } = await pusher(t, {}, place)
    assert.deepEqual(counts(pipe), nothing)
    await pipe.push('12345')
    assert.deepEqual(counts(pipe), { ...nothing, queued: 1 })
    const own = open(t, { pull: address, identity: 'own' })
    await own.ready({ pushers: 1 })
    await pipe.ready({ pullers: 1 })
    assert.deepEqual(peer(pipe, 'own'), { flow: true, credit: 0, inFlight: 0, done: 0, redelivered: 0, jobs: 0 })
    const jobs = own.pull()
    await jobs.next()
    assert.deepEqual(counts(pipe), { ...nothing, inFlight: 1 })
    assert.equal(pipe.stats().push.inFlightBytes, 5)
    assert.equal(pipe.stats().push.queuedBytes, 0)
    await until(() => peer(pipe, 'own').credit === 0)
    assert.deepEqual(peer(pipe, 'own'), { flow: true, credit: 0, inFlight: 1, done: 0, redelivered: 0, jobs: 1 })
    await jobs.return()
    await pipe.drain()
    assert.deepEqual(counts(pipe), { ...nothing, done: 1 })
    assert.equal(pipe.stats().push.inFlightBytes, 0)
    assert.deepEqual(peer(pipe, 'own'), { flow: true, credit: 0, inFlight: 0, done: 1, redelivered: 0, jobs: 1 })
  })

  test(`a worker that waits has given credit for what it waits for ${how}`, limit, async t => {
    const { pipe, address } = await pusher(t, {}, place)
    const own = open(t, { pull: address, identity: 'own' })
    const controller = new AbortController()
    const handling = own.pull(() => {}, { concurrency: 5, prefetch: 0, signal: controller.signal })
    await pipe.ready({ pullers: 1 })
    await until(() => peer(pipe, 'own').credit === 5)
    controller.abort()
    await assert.rejects(handling, { name: 'AbortError' })
    await until(() => peer(pipe, 'own').credit === 0)
  })

  test(`the puller sees the same of its pusher ${how}`, limit, async t => {
    const { pipe, address } = await pusher(t, { identity: 'boss' }, place)
    const own = open(t, { pull: address })
    const jobs = own.pull()
    await pipe.push('a')
    await jobs.next()
    await until(() => own.stats().pull.peers[0].inFlight === 1)
    const [{ identity, flow, jobs: received }] = own.stats().pull.peers
    assert.deepEqual({ identity, flow, received }, { identity: 'boss', flow: true, received: 1 })
    await jobs.return()
    await until(() => own.stats().pull.peers[0].inFlight === 0)
    assert.equal(own.stats().pull.received, 1)
  })

  test(`drain resolves when the last job is acknowledged, and not when it has arrived ${how}`, limit, async t => {
    const { pipe, address } = await pusher(t, {}, place)
    for (const number of numbers(10)) await pipe.push(number)
    const own = open(t, { pull: address })
    const draining = pipe.drain()
    await take(own, 9)
    const jobs = own.pull()
    await jobs.next()
    await until(() => pipe.stats().push.done === 9)
    assert.deepEqual(await standing(draining), ['pending'])
    await jobs.return()
    await draining
    assert.equal(pipe.stats().push.done, 10)
  })

  for (const [when, wait] of [['at once', () => {}], ['a little later', turns]]) {
    test(`drain cares only for what was pushed before, not for what is pushed ${when} ${how}`, { timeout: 5_000 }, async t => {
      const { pipe, address } = await pusher(t, {}, place)
      const own = open(t, { pull: address })
      const jobs = own.pull()
      await pipe.push('before')
      await jobs.next()
      const draining = pipe.drain()
      await wait()
      await pipe.push('after')
      const other = own.pull()
      await other.next()
      await jobs.return()
      await draining
      await until(() => pipe.stats().push.done === 1)
      assert.deepEqual(counts(pipe), { ...nothing, inFlight: 1, done: 1 })
      await other.return()
      await pipe.drain()
    })
  }

  test(`when drain has resolved everything is counted, hundreds of times ${how}`, limit, async t => {
    const { pipe, address } = await pusher(t, {}, place)
    const own = open(t, { pull: address })
    const looping = (async () => {
      for await (const _ of own.pull()) { /* done at once */ }
    })()
    let pushed = 0
    for (let round = 0; round < 500; round++) {
      for (let count = 0; count <= round % 7; count++) {
        await pipe.push('job')
        pushed++
      }
      await pipe.drain()
      assert.deepEqual(counts(pipe), { ...nothing, done: pushed })
    }
    await own.close()
    await looping
  })
}

test('redelivered counts what was sent again, with the peer that it was sent to', limit, async t => {
  const { pipe, address } = await pusher(t)
  await pipe.push('a')
  const victim = worker(t, address, loop('await new Promise(() => setInterval(() => {}, 1000))'), { identity: 'victim' })
  await until(() => victim.begun.length === 1)
  const left = happening(pipe, 'leave')
  victim.child.kill('SIGKILL')
  assert.equal((await left).flow, true)
  assert.deepEqual(counts(pipe), { ...nothing, queued: 1 })
  const own = open(t, { pull: address, identity: 'own' })
  await take(own, 1)
  await pipe.drain()
  assert.deepEqual(counts(pipe), { ...nothing, done: 1, redelivered: 1 })
  assert.deepEqual(peer(pipe, 'own'), { flow: true, credit: 0, inFlight: 0, done: 1, redelivered: 1, jobs: 1 })
})

test('dead counts what was given up after maxAttempts, drain does not wait for it any more', limit, async t => {
  const { pipe, address } = await pusher(t, { maxAttempts: 2 })
  const died = happening(pipe, 'dead')
  await pipe.push('bad')
  await pipe.push('good')
  const own = open(t, { pull: address })
  const handling = own.pull(([message]) => {
    if (message.toString() === 'bad') throw new Error('bad it is')
  })
  await pipe.drain()
  const { job, attempt, error } = await died
  assert.deepEqual([job.map(String), attempt, error.message], [['bad'], 2, 'bad it is'])
  assert.deepEqual(counts(pipe), { ...nothing, done: 1, redelivered: 1, dead: 1 })
  await own.close()
  await handling
})

test('a plain peer has no flow: what its connection has taken is done', limit, async t => {
  const { pipe, address } = await pusher(t)
  const plain = await dial(t, address)
  await plain.handshake('PULL')
  await pipe.ready({ pullers: 1 })
  for (const number of numbers(3)) await pipe.push(number)
  for (const number of numbers(3)) assert.deepEqual(await plain.nextJob(), [number])
  await pipe.drain()
  assert.deepEqual(counts(pipe), { ...nothing, done: 3 })
  const [{ flow, inFlight, credit, done, jobs }] = pipe.stats().push.peers
  assert.equal(flow, false)
  assert.deepEqual([inFlight, credit, jobs], [0, 0, 3])
  assert.ok(done === 3 || done === 0)
})
