// The pusher's side of flow (docs/flow.md, "The pusher"): what it sends to whom, and what becomes of a job.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pusher } from './helpers/ends.mjs'
import { NO_LIMIT, ack, dialPull, giveBack, nack } from './helpers/flow.mjs'
import { happening, warning } from './helpers/happening.mjs'
import { standing } from './helpers/settle.mjs'
import { numbers } from './helpers/take.mjs'

const timeout = 10_000

async function pushAll (pipe, jobs) {
  for (const job of jobs) await pipe.push(job)
}

const counts = pipe => {
  const { queued, inFlight, done } = pipe.stats().push
  return { queued, inFlight, done }
}

/** Goes, and the pusher has noticed. */
async function leave (pipe, peer) {
  const left = happening(pipe, 'leave')
  peer.destroy()
  await left
}

/** Fails a job so often, each time with a worker that dies with it; the last of them had it alone. */
async function fail (t, pipe, address, times) {
  for (; times > 0; times--) {
    const peer = await dialPull(t, address)
    peer.credit(1)
    await peer.get(1)
    await leave(pipe, peer)
  }
}

test('nothing is sent before CREDIT', { timeout }, async t => {
  const { pipe, address } = await pusher(t)
  const peer = await dialPull(t, address)
  await pushAll(pipe, numbers(10))
  assert.deepEqual(counts(pipe), { queued: 10, inFlight: 0, done: 0 })
  await peer.ask(10)
  assert.deepEqual(peer.jobs, [])
  peer.credit(1)
  assert.equal((await peer.get(1))[0].frames[0], '0')
})

test('a CREDIT of 0 jobs or of 0 bytes lets nothing through', { timeout }, async t => {
  const { pipe, address } = await pusher(t)
  const peer = await dialPull(t, address)
  peer.credit(0)
  await pipe.push('job')
  await peer.ask()
  peer.credit(NO_LIMIT, 0)
  await peer.ask()
  assert.deepEqual(peer.jobs, [])
  peer.credit(1, 1)
  await peer.get(1)
})

test('no job is sent above the jobs of the last CREDIT, counted from the start of the link', { timeout }, async t => {
  const { pipe, address } = await pusher(t)
  const peer = await dialPull(t, address)
  await pushAll(pipe, numbers(100))
  for (const granted of [1, 2, 5, 5, 30]) {
    peer.credit(granted)
    await peer.get(granted)
    await peer.ask()
    assert.equal(peer.jobs.length, granted)
    assert.deepEqual(counts(pipe), { queued: 100 - granted, inFlight: granted, done: 0 })
  }
  // What is acknowledged gives no new credit by itself.
  peer.ack([1, 30])
  await peer.ask()
  assert.deepEqual(counts(pipe), { queued: 70, inFlight: 0, done: 30 })
  assert.equal(peer.jobs.length, 30)
  peer.credit(100)
  assert.deepEqual((await peer.get(100)).map(({ frames }) => frames[0]), numbers(100))
})

test('jobs are sent as they come while credit lasts', { timeout }, async t => {
  const { pipe, address } = await pusher(t)
  const peer = await dialPull(t, address)
  peer.credit(3)
  await peer.ask()
  for (const [index, text] of numbers(3).entries()) {
    await pipe.push(text)
    await peer.get(index + 1)
  }
  await pipe.push('above')
  await peer.ask()
  assert.deepEqual(peer.texts, numbers(3))
})

test('no job is begun once the bytes that are granted are reached, and the last may pass them', { timeout }, async t => {
  const { pipe, address } = await pusher(t)
  const peer = await dialPull(t, address)
  await pushAll(pipe, Array(20).fill('x'.repeat(100)))
  for (const [bytes, jobs] of [[1, 1], [100, 1], [101, 2], [200, 2], [201, 3], [300, 3], [1000, 10], [1001, 11]]) {
    peer.credit(NO_LIMIT, bytes)
    await peer.get(jobs)
    await peer.ask()
    assert.equal(peer.jobs.length, jobs, `${bytes} bytes`)
  }
})

test('a frame beyond the first counts 64 bytes more', { timeout }, async t => {
  const { pipe, address } = await pusher(t)
  const peer = await dialPull(t, address)
  await pushAll(pipe, Array(10).fill(['', '', '0123456789'])) // counts 138
  for (const [bytes, jobs] of [[138, 1], [139, 2], [276, 2], [277, 3], [1379, 10]]) {
    peer.credit(NO_LIMIT, bytes)
    await peer.get(jobs)
    await peer.ask()
    assert.equal(peer.jobs.length, jobs, `${bytes} bytes`)
  }
})

test('an empty job counts nothing, and goes while bytes are left', { timeout }, async t => {
  const { pipe, address } = await pusher(t)
  const peer = await dialPull(t, address)
  await pushAll(pipe, ['', '', 'x', ''])
  peer.credit(NO_LIMIT, 1)
  await peer.get(3)
  await peer.ask()
  assert.deepEqual(peer.texts, ['', '', 'x'])
})

test('a job that is larger than all bytes that are granted goes all the same, alone', { timeout }, async t => {
  const { pipe, address } = await pusher(t)
  const peer = await dialPull(t, address)
  await pushAll(pipe, [Buffer.alloc(5 << 20, 'a'), 'next'])
  peer.credit(10, 1000)
  await peer.get(1)
  await peer.ask()
  assert.deepEqual(peer.jobs.map(({ frames }) => frames[0].length), [5 << 20])
  peer.credit(10, (5 << 20) + 1)
  await peer.get(2)
})

test('a CREDIT that is lower holds, and what was sent under an earlier one may still be settled', { timeout }, async t => {
  const { pipe, address } = await pusher(t)
  const peer = await dialPull(t, address)
  peer.credit(5)
  await pushAll(pipe, numbers(3))
  await peer.get(3)
  peer.credit(2)
  await peer.ask()
  await pushAll(pipe, ['3', '4'])
  await peer.ask()
  assert.equal(peer.jobs.length, 3)
  peer.credit(4)
  await peer.get(4)
  peer.credit(0, 0)
  peer.ack([1, 4])
  await peer.ask()
  assert.deepEqual(counts(pipe), { queued: 1, inFlight: 0, done: 4 })
  peer.credit(5)
  await peer.get(5)
})

test('a job is kept until it is acknowledged, and no longer', { timeout }, async t => {
  const { pipe, address } = await pusher(t)
  const peer = await dialPull(t, address)
  peer.credit(10)
  await pushAll(pipe, numbers(10))
  await peer.get(10)
  assert.deepEqual(counts(pipe), { queued: 0, inFlight: 10, done: 0 })
  assert.equal(pipe.stats().push.inFlightBytes, 10)
  assert.deepEqual(await standing(pipe.drain()), ['pending'])
  const drained = pipe.drain()
  peer.ack([1, 3], 5, [9, 10])
  await peer.ask()
  assert.deepEqual(counts(pipe), { queued: 0, inFlight: 4, done: 6 })
  const { done, inFlight, jobs } = pipe.stats().push.peers[0]
  assert.deepEqual({ done, inFlight, jobs }, { done: 6, inFlight: 4, jobs: 10 })
  assert.deepEqual(await standing(drained), ['pending'])
  peer.ack(4, [6, 8])
  await drained
  assert.deepEqual(counts(pipe), { queued: 0, inFlight: 0, done: 10 })
  const other = await dialPull(t, address)
  other.credit(10)
  await leave(pipe, peer)
  await other.ask()
  assert.deepEqual(other.jobs, [])
})

test('jobs may be acknowledged in any order and in any pieces', { timeout }, async t => {
  const { pipe, address } = await pusher(t)
  const peer = await dialPull(t, address)
  peer.credit(9000)
  await pushAll(pipe, numbers(8001))
  await peer.get(8001)
  // As many ranges as one command may have.
  peer.ack(...Array.from({ length: 4000 }, (_, i) => 2 * i + 1))
  await peer.ask()
  assert.deepEqual(counts(pipe), { queued: 0, inFlight: 4001, done: 4000 })
  for (let number = 8000; number > 0; number -= 2) peer.ack(number)
  peer.ack(8001)
  await pipe.drain()
  assert.deepEqual(counts(pipe), { queued: 0, inFlight: 0, done: 8001 })
})

test('what is RETURNed goes back to the front in order, as no attempt, with the same id', { timeout }, async t => {
  const { pipe, address } = await pusher(t)
  const peer = await dialPull(t, address)
  peer.credit(6)
  await pushAll(pipe, numbers(10))
  await peer.get(6)
  peer.credit(0).send(giveBack(2, [4, 5]))
  await peer.ask()
  assert.deepEqual(counts(pipe), { queued: 7, inFlight: 3, done: 0 })
  peer.credit(13)
  await peer.get(13)
  assert.deepEqual(peer.texts.slice(6), ['1', '3', '4', '6', '7', '8', '9'])
  const id = text => peer.jobs.filter(({ frames }) => frames[0] === text).map(({ id }) => id)
  for (const text of ['1', '3', '4']) {
    assert.equal(id(text).length, 2)
    assert.equal(new Set(id(text)).size, 1)
  }
  assert.equal(new Set(peer.jobs.map(({ id }) => id)).size, 10)
  assert.ok(peer.log.every(({ name, attempt }) => name !== 'JOB' || attempt === undefined))
  assert.equal(pipe.stats().push.redelivered, 0)
})

test('a job can be RETURNed again and again', { timeout }, async t => {
  const { pipe, address } = await pusher(t, { maxAttempts: 2 })
  const peer = await dialPull(t, address)
  await pipe.push('job')
  for (let number = 1; number <= 50; number++) {
    peer.credit(number)
    await peer.get(number)
    peer.send(giveBack(number))
  }
  peer.credit(51)
  await peer.get(51)
  assert.equal(new Set(peer.jobs.map(({ id }) => id)).size, 1)
  assert.ok(peer.jobs.every(({ attempt }) => attempt === undefined))
})

test('what is RETURNed goes to another peer that is free', { timeout }, async t => {
  const { pipe, address } = await pusher(t)
  const first = await dialPull(t, address)
  first.credit(3)
  await pushAll(pipe, numbers(3))
  await first.get(3)
  const second = await dialPull(t, address)
  second.credit(3)
  await second.ask()
  first.send(giveBack([1, 3]))
  await second.get(3)
  assert.deepEqual(second.texts, numbers(3))
  assert.deepEqual(second.jobs.map(({ id }) => id), first.jobs.map(({ id }) => id))
})

test('after a NACK a job pauses while others pass it, and comes back as attempt 2 with the same id', { timeout }, async t => {
  const { pipe, address } = await pusher(t)
  const peer = await dialPull(t, address)
  peer.credit(1)
  await pushAll(pipe, numbers(3))
  const [{ id }] = await peer.get(1)
  peer.send(nack(1, 'no')).credit(10)
  await peer.get(4)
  assert.deepEqual(peer.jobs.map(({ frames, attempt }) => [frames[0], attempt]), [['0', undefined], ['1', undefined], ['2', undefined], ['0', '2']])
  assert.equal(peer.jobs[3].id, id)
  assert.equal(pipe.stats().push.redelivered, 1)
  peer.ack([2, 4])
  await pipe.drain()
  assert.deepEqual(counts(pipe), { queued: 0, inFlight: 0, done: 3 })
})

test('a NACK without a reason, and one with the longest, are NACKs', { timeout }, async t => {
  const { pipe, address } = await pusher(t)
  const peer = await dialPull(t, address)
  peer.credit(10)
  await pushAll(pipe, numbers(2))
  await peer.get(2)
  peer.send(nack(1), nack(2, 'é'.repeat(512)))
  await peer.get(4)
  assert.deepEqual(peer.jobs.slice(2).map(({ attempt }) => attempt), ['2', '2'])
})

test('a job in its pause counts as one that waits, and keeps drain waiting', { timeout }, async t => {
  const { pipe, address } = await pusher(t)
  const peer = await dialPull(t, address)
  peer.credit(1)
  await pipe.push('job')
  await peer.get(1)
  const drained = pipe.drain()
  peer.send(nack(1))
  await peer.ask()
  assert.deepEqual(counts(pipe), { queued: 1, inFlight: 0, done: 0 })
  assert.deepEqual(await standing(drained), ['pending'])
  peer.credit(2)
  await peer.get(2)
  peer.ack(2)
  await drained
})

test('when a link ends, all that it did not settle comes back in order, as attempt 2, with the same ids', { timeout }, async t => {
  const { pipe, address } = await pusher(t)
  const first = await dialPull(t, address)
  first.credit(8)
  await pushAll(pipe, numbers(10))
  await first.get(8)
  first.ack(1, [4, 5])
  await first.ask()
  const second = await dialPull(t, address)
  second.credit(100)
  await second.get(2) // those that were in nobody's hands
  first.destroy()
  await second.get(7)
  assert.deepEqual(second.jobs.map(({ frames, attempt }) => [frames[0], attempt]), [
    ['8', undefined], ['9', undefined], ['1', '2'], ['2', '2'], ['5', '2'], ['6', '2'], ['7', '2']
  ])
  for (const { frames: [text], id } of second.jobs.slice(2)) assert.equal(first.jobs[Number(text)].id, id)
  second.ack([1, 7])
  await pipe.drain()
  assert.deepEqual(counts(pipe), { queued: 0, inFlight: 0, done: 10 })
})

test('what comes back from a link that ended stands before what was never sent', { timeout }, async t => {
  const { pipe, address } = await pusher(t)
  const first = await dialPull(t, address)
  first.credit(3)
  await pushAll(pipe, numbers(6))
  await first.get(3)
  await leave(pipe, first)
  assert.deepEqual(counts(pipe), { queued: 6, inFlight: 0, done: 0 })
  const second = await dialPull(t, address)
  second.credit(6)
  await second.get(6)
  assert.deepEqual(second.texts, numbers(6))
  assert.deepEqual(second.jobs.map(({ attempt }) => attempt), ['2', '2', '2', undefined, undefined, undefined])
})

test('jobs of many frames and of many megabytes come back byte for byte', { timeout }, async t => {
  const { pipe, address } = await pusher(t)
  const jobs = [['a', '', 'b'], [`${'x'.repeat(3 << 20)}end`], Array(1024).fill('f'), ['']]
  const first = await dialPull(t, address)
  first.credit(10)
  await pushAll(pipe, jobs)
  await first.get(4)
  await leave(pipe, first)
  const second = await dialPull(t, address)
  second.credit(10)
  await second.get(4)
  assert.deepEqual(second.jobs.map(({ frames }) => frames), jobs)
  assert.deepEqual(first.jobs.map(({ frames }) => frames), jobs)
})

test('a third attempt goes only to a peer that has nothing, and nothing goes behind it until it is settled', { timeout }, async t => {
  const { pipe, address } = await pusher(t)
  await pipe.push('poison')
  await fail(t, pipe, address, 2)
  await pushAll(pipe, numbers(5))
  const peer = await dialPull(t, address)
  peer.credit(100)
  await peer.get(1)
  await peer.ask()
  assert.deepEqual(peer.jobs.map(({ frames, attempt }) => [frames[0], attempt]), [['poison', '3']])
  peer.ack(1)
  await peer.get(6)
  assert.deepEqual(peer.texts.slice(1), numbers(5))
})

test('a third attempt waits until a peer has nothing in flight', { timeout }, async t => {
  const { pipe, address } = await pusher(t)
  const busy = await dialPull(t, address)
  busy.credit(2)
  await pushAll(pipe, ['a', 'b'])
  await busy.get(2)
  await pipe.push('poison')
  await fail(t, pipe, address, 2)
  busy.credit(100)
  await busy.ask()
  assert.deepEqual(busy.texts, ['a', 'b'])
  busy.ack(1)
  await busy.ask()
  assert.deepEqual(busy.texts, ['a', 'b'])
  busy.ack(2)
  await busy.get(3)
  assert.deepEqual([busy.jobs[2].frames[0], busy.jobs[2].attempt], ['poison', '3'])
})

test('a third attempt is not put off for ever by a peer that always has something to do', { timeout }, async t => {
  const { pipe, address } = await pusher(t)
  const peer = await dialPull(t, address)
  await keepBusyUntilPoison(t, pipe, address, peer)
})

test('nor by a peer that has nothing because it wants nothing', { timeout }, async t => {
  const { pipe, address } = await pusher(t)
  await dialPull(t, address) // grants nothing
  const peer = await dialPull(t, address)
  await keepBusyUntilPoison(t, pipe, address, peer)
})

/**
 * The peer has two jobs, there are fifty more, and one that has failed twice. It acknowledges one job after the other, so that
 * it always has another if it is given one.
 */
async function keepBusyUntilPoison (t, pipe, address, peer) {
  peer.credit(2)
  await pushAll(pipe, ['a', 'b'])
  await peer.get(2)
  await pipe.push('poison')
  await fail(t, pipe, address, 2)
  await pushAll(pipe, numbers(50))
  peer.credit(100)
  await peer.ask()
  for (let acked = 0; !peer.texts.includes('poison');) {
    assert.ok(acked < 52, `it came only after everything else: ${peer.texts}`)
    if (peer.jobs.length > acked) peer.ack(++acked)
    await peer.ask(1)
  }
  assert.ok(peer.jobs.length < 52)
}

test('several jobs at their third attempt travel one after the other, each alone', { timeout }, async t => {
  const { pipe, address } = await pusher(t)
  await pushAll(pipe, ['a', 'b', 'c'])
  for (let round = 0; round < 2; round++) {
    const peer = await dialPull(t, address)
    peer.credit(3)
    await peer.get(3)
    await leave(pipe, peer)
  }
  await pushAll(pipe, numbers(3))
  const peer = await dialPull(t, address)
  peer.credit(100)
  for (const [index, text] of ['a', 'b', 'c'].entries()) {
    await peer.get(index + 1)
    await peer.ask()
    assert.deepEqual(peer.jobs.slice(index).map(({ frames, attempt }) => [frames[0], attempt]), [[text, '3']])
    peer.ack(index + 1)
  }
  await peer.get(6)
  assert.deepEqual(peer.texts.slice(3), numbers(3))
})

test('while a job travels alone with one peer, others take the rest', { timeout }, async t => {
  const { pipe, address } = await pusher(t)
  await pipe.push('poison')
  await fail(t, pipe, address, 2)
  const alone = await dialPull(t, address)
  alone.credit(100)
  await alone.get(1)
  const other = await dialPull(t, address)
  other.credit(100)
  await other.ask()
  await pushAll(pipe, numbers(20))
  await other.get(20)
  await alone.ask()
  assert.deepEqual(alone.texts, ['poison'])
})

test('a job that travels alone and is RETURNed travels alone again, as the same attempt', { timeout }, async t => {
  const { pipe, address } = await pusher(t)
  await pipe.push('poison')
  await fail(t, pipe, address, 2)
  const peer = await dialPull(t, address)
  peer.credit(100)
  await peer.get(1)
  await pushAll(pipe, numbers(3))
  peer.send(giveBack(1))
  await peer.get(2)
  await peer.ask()
  assert.deepEqual(peer.jobs.map(({ frames, attempt }) => [frames[0], attempt]), [['poison', '3'], ['poison', '3']])
})

for (const [how, fails] of [['handlers fail on it', async (pipe, peer) => { peer.send(nack(1, 'out of paper')) }], ['workers die with it', leave]]) {
  test(`after maxAttempts a job is dead: ${how}`, { timeout }, async t => {
    const { pipe, address } = await pusher(t, { maxAttempts: 3 })
    const dead = happening(pipe, 'dead')
    await pipe.push(['poison', '', 'and more'])
    const drained = pipe.drain()
    let id
    for (let attempt = 1; attempt <= 3; attempt++) {
      const peer = await dialPull(t, address)
      peer.credit(1)
      const [got] = await peer.get(1)
      assert.equal(got.attempt ?? '1', String(attempt))
      assert.equal(got.id, id ??= got.id)
      await fails(pipe, peer)
      await (peer.isClosed || leave(pipe, peer))
    }
    const event = await dead
    assert.deepEqual(Object.keys(event).toSorted(), ['attempt', 'error', 'id', 'job'])
    assert.deepEqual(event.job.map(frame => Buffer.from(frame).toString()), ['poison', '', 'and more'])
    assert.ok(event.job.every(frame => Buffer.isBuffer(frame)))
    assert.equal(event.id, id)
    assert.equal(event.attempt, 3)
    assert.ok(event.error instanceof Error)
    assert.equal(event.error.code, 'ERR_ZEROPIPE_JOB_FAILED')
    if (fails !== leave) assert.equal(event.error.message, 'out of paper')
    else assert.ok(event.error.message.length > 0)
    await drained
    assert.deepEqual(counts(pipe), { queued: 0, inFlight: 0, done: 0 })
    assert.equal(pipe.stats().push.dead, 1)
    const next = await dialPull(t, address)
    next.credit(10)
    await next.ask()
    assert.deepEqual(next.jobs, [])
  })
}

test('a job that dies with nobody listening is a process warning', { timeout }, async t => {
  const { pipe, address } = await pusher(t, { maxAttempts: 1 })
  const warned = warning('ZEROPIPE_DEAD')
  await pipe.push('poison')
  const peer = await dialPull(t, address)
  peer.credit(1)
  const [{ id }] = await peer.get(1)
  peer.send(nack(1, 'out of paper'))
  const { message } = await warned
  assert.ok(message.includes(id))
  assert.ok(message.includes('out of paper'))
})

test('a job that is held for longer than ackTimeout goes to another peer, and its link stays', { timeout }, async t => {
  const { pipe, address } = await pusher(t, { ackTimeout: 100 })
  const left = []
  pipe.on('leave', event => left.push(event)).on('refused', event => left.push(event))
  const hung = await dialPull(t, address)
  hung.credit(1)
  await pipe.push('job')
  const [{ id }] = await hung.get(1)
  const other = await dialPull(t, address)
  other.credit(1)
  const [again] = await other.get(1)
  assert.deepEqual([again.frames[0], again.attempt, again.id], ['job', '2', id])
  // The late word of the first means nothing now,
  hung.ack(1)
  await hung.ask()
  assert.deepEqual(counts(pipe), { queued: 0, inFlight: 1, done: 0 })
  // and that of the second is the one that counts.
  other.ack(1)
  await pipe.drain()
  assert.deepEqual(counts(pipe), { queued: 0, inFlight: 0, done: 1 })
  assert.deepEqual(left, [])
})

test('a late ACK takes a job that waits again out of the queue', { timeout }, async t => {
  const { pipe, address } = await pusher(t, { ackTimeout: 50 })
  const hung = await dialPull(t, address)
  hung.credit(3)
  await pushAll(pipe, numbers(3))
  await hung.get(3)
  while (pipe.stats().push.queued < 3) await hung.ask(1)
  hung.ack(2)
  await hung.ask()
  assert.deepEqual(counts(pipe), { queued: 2, inFlight: 0, done: 1 })
  const other = await dialPull(t, address)
  other.credit(10)
  await other.get(2)
  assert.deepEqual(other.texts, ['0', '2'])
  other.ack([1, 2])
  await pipe.drain()
  assert.deepEqual(counts(pipe), { queued: 0, inFlight: 0, done: 3 })
})

test('a late RETURN or NACK means nothing', { timeout }, async t => {
  const { pipe, address } = await pusher(t, { ackTimeout: 50 })
  const hung = await dialPull(t, address)
  hung.credit(2)
  await pushAll(pipe, numbers(2))
  await hung.get(2)
  while (pipe.stats().push.queued < 2) await hung.ask(1)
  hung.send(giveBack(1), nack(2, 'no'))
  await hung.ask()
  assert.deepEqual(counts(pipe), { queued: 2, inFlight: 0, done: 0 })
  const other = await dialPull(t, address)
  other.credit(2)
  await other.get(2)
  assert.deepEqual(other.jobs.map(({ frames, attempt }) => [frames[0], attempt]), [['0', '2'], ['1', '2']])
})

test('a job that was given to another after ackTimeout does not come a third time when its first link ends', { timeout }, async t => {
  const { pipe, address } = await pusher(t, { ackTimeout: 100 })
  const hung = await dialPull(t, address)
  hung.credit(1)
  await pipe.push('job')
  await hung.get(1)
  const other = await dialPull(t, address)
  other.credit(1)
  await other.get(1)
  other.ack(1)
  await pipe.drain()
  other.credit(10)
  await leave(pipe, hung)
  await other.ask()
  assert.equal(other.jobs.length, 1)
  assert.deepEqual(counts(pipe), { queued: 0, inFlight: 0, done: 1 })
})

test('with ackTimeout, too, a job is dead after maxAttempts', { timeout }, async t => {
  const { pipe, address } = await pusher(t, { ackTimeout: 30, maxAttempts: 3 })
  const dead = happening(pipe, 'dead')
  const peers = []
  for (let i = 0; i < 3; i++) {
    peers.push(await dialPull(t, address))
    peers[i].credit(1)
  }
  await pipe.push('job')
  const { attempt, error } = await dead
  assert.equal(attempt, 3)
  assert.equal(error.code, 'ERR_ZEROPIPE_JOB_FAILED')
  assert.deepEqual(peers.map(peer => peer.jobs.map(({ attempt }) => attempt ?? '1')).flat().toSorted(), ['1', '2', '3'])
})

test('jobs in flight are at most as many as may wait, whatever a peer grants', { timeout }, async t => {
  const { pipe, address } = await pusher(t, { highWaterMark: { messages: 8 } })
  const peer = await dialPull(t, address)
  peer.credit(NO_LIMIT)
  await peer.ask()
  await pushAll(pipe, numbers(16)) // 8 in flight and 8 in the queue
  await peer.get(8)
  await peer.ask()
  assert.equal(peer.jobs.length, 8)
  assert.deepEqual(counts(pipe), { queued: 8, inFlight: 8, done: 0 })
  const pushing = pipe.push('waits')
  assert.deepEqual(await standing(pushing), ['pending'])
  peer.ack([1, 2])
  await pushing
  await peer.get(10)
  await peer.ask()
  assert.equal(peer.jobs.length, 10)
  assert.deepEqual(counts(pipe), { queued: 7, inFlight: 8, done: 2 })
})

test('bytes in flight are at most as many as may wait, and one job more', { timeout }, async t => {
  const { pipe, address } = await pusher(t, { highWaterMark: { bytes: 1000 } })
  const peer = await dialPull(t, address)
  peer.credit(NO_LIMIT, 2n ** 64n - 1n)
  await peer.ask()
  const body = 'x'.repeat(300)
  await pushAll(pipe, Array(7).fill(body)) // 4 in flight, which count 1,200, and 3 in the queue
  await peer.get(4)
  await peer.ask()
  assert.equal(peer.jobs.length, 4)
  assert.deepEqual(counts(pipe), { queued: 3, inFlight: 4, done: 0 })
  peer.ack(1)
  await peer.get(5)
  await peer.ask()
  assert.equal(peer.jobs.length, 5)
  assert.equal(pipe.stats().push.inFlightBytes, 1200)
})

test('no peer holds more than a quarter of what may be in flight while another is free', { timeout }, async t => {
  const { pipe, address } = await pusher(t, { highWaterMark: { messages: 40 } })
  const greedy = await dialPull(t, address)
  greedy.credit(NO_LIMIT)
  await greedy.ask()
  await pushAll(pipe, numbers(8))
  await greedy.get(8)
  const other = await dialPull(t, address)
  other.credit(NO_LIMIT)
  await other.ask()
  await pushAll(pipe, numbers(12))
  await greedy.get(10)
  await other.get(10)
  await greedy.ask()
  assert.deepEqual([greedy.jobs.length, other.jobs.length], [10, 10])
  // Now both hold a quarter, and a third one comes.
  const third = await dialPull(t, address)
  third.credit(NO_LIMIT)
  await third.ask()
  await pushAll(pipe, numbers(10))
  await third.get(10)
  await greedy.ask()
  await other.ask()
  assert.deepEqual([greedy.jobs.length, other.jobs.length, third.jobs.length], [10, 10, 10])
  // Nobody is below it any more: then the rest is shared.
  await pushAll(pipe, numbers(20))
  while (pipe.stats().push.inFlight < 40) await third.ask(1)
  await greedy.ask()
  assert.deepEqual(counts(pipe), { queued: 10, inFlight: 40, done: 0 })
})

test('no peer holds more than a quarter of the bytes that may be in flight while another is free', { timeout }, async t => {
  const { pipe, address } = await pusher(t, { highWaterMark: { bytes: 4000 } })
  const greedy = await dialPull(t, address)
  greedy.credit(NO_LIMIT)
  await greedy.ask()
  await pushAll(pipe, Array(9).fill('x'.repeat(100)))
  await greedy.get(9)
  const other = await dialPull(t, address)
  other.credit(NO_LIMIT)
  await other.ask()
  await pushAll(pipe, Array(11).fill('x'.repeat(100)))
  await greedy.get(10)
  await other.get(10)
  await greedy.ask()
  assert.deepEqual([greedy.jobs.length, other.jobs.length], [10, 10])
})

/** As many peers as the pusher takes for many; each grants so many jobs. */
async function manyPeers (t, address, jobs) {
  const peers = []
  while (peers.length < 32) peers.push(await dialPull(t, address))
  for (const peer of peers) {
    peer.credit(jobs)
    await peer.ask()
  }
  return peers
}

test('peers that have half of their share get the rest too, though they settle nothing', { timeout }, async t => {
  const { pipe, address } = await pusher(t, { highWaterMark: { messages: 3200 } })
  const peers = await manyPeers(t, address, NO_LIMIT)
  await pushAll(pipe, numbers(4000))
  while (pipe.stats().push.inFlight < 3200) await peers[0].ask(1)
  for (const peer of peers) await peer.ask()
  const came = peers.map(({ jobs }) => jobs.length)
  assert.equal(came.reduce((sum, jobs) => sum + jobs), 3200)
  assert.ok(Math.min(...came) >= 50, `one has ${Math.min(...came)}`)
  assert.deepEqual(counts(pipe), { queued: 800, inFlight: 3200, done: 0 })
})

test('of a burst no peer gets much more than others, however much they have granted, before they settle any', { timeout }, async t => {
  const { pipe, address } = await pusher(t)
  const peers = await manyPeers(t, address, 2000)
  await pushAll(pipe, numbers(3200))
  while (pipe.stats().push.inFlight < 3200) await peers[0].ask(1)
  for (const peer of peers) await peer.ask()
  const came = peers.map(({ jobs }) => jobs.length)
  assert.equal(came.reduce((sum, jobs) => sum + jobs), 3200)
  assert.ok(Math.max(...came) <= 200, `one has ${Math.max(...came)}`)
})

test('jobs that come behind many, to many peers, go soon, though they are fewer than a turn and nobody settles anything', { timeout }, async t => {
  const { pipe, address } = await pusher(t)
  const peers = await manyPeers(t, address, NO_LIMIT)
  for (const [count, all] of [[5000, 5000], [1, 5001], [10, 5011], [3000, 8011], [1, 8012]]) {
    await pushAll(pipe, numbers(count))
    while (pipe.stats().push.inFlight < all) await peers[0].ask(1)
  }
  for (const peer of peers) await peer.ask()
  assert.equal(peers.reduce((sum, { jobs }) => sum + jobs.length, 0), 8012)
  assert.deepEqual(counts(pipe), { queued: 0, inFlight: 8012, done: 0 })
})

test('jobs are dealt in turn to peers with credit, and to none without', { timeout }, async t => {
  const { pipe, address } = await pusher(t)
  const peers = []
  for (const granted of [NO_LIMIT, 0, 2]) {
    const peer = await dialPull(t, address)
    peer.credit(granted)
    await peer.ask()
    peers.push(peer)
  }
  await pushAll(pipe, numbers(10))
  await peers[0].get(8)
  await peers[2].get(2)
  await peers[1].ask()
  assert.deepEqual(peers.map(peer => peer.jobs.length), [8, 0, 2])
})

test('JOB comes before the first job of a link, and then only when the id does not follow', { timeout }, async t => {
  const { pipe, address } = await pusher(t)
  const first = await dialPull(t, address)
  first.credit(1000)
  await pushAll(pipe, numbers(500))
  await first.get(500)
  await pushAll(pipe, numbers(500))
  await first.get(1000)
  assert.deepEqual(first.jobs.flatMap(({ isTold, number }) => isTold ? [number] : []), [1])
  const sequences = first.jobs.map(({ id }) => Number(id.split('-')[1]))
  assert.ok(sequences.every((sequence, index) => sequence === sequences[0] + index))
  assert.ok(first.jobs.every(({ id }) => id.startsWith(`${first.instance}-`)))
  // Given back, it does not follow; nor does what comes behind it.
  first.send(giveBack(10)).credit(1001)
  await first.get(1001)
  await pipe.push('new')
  first.credit(1002)
  await first.get(1002)
  assert.deepEqual(first.jobs.slice(1000).map(({ isTold }) => isTold), [true, true])
  assert.equal(first.jobs[1000].id, first.jobs[9].id)
  assert.equal(Number(first.jobs[1001].id.split('-')[1]), sequences[0] + 1000)
})

test('ids differ between links and between pushers', { timeout }, async t => {
  const seen = new Set()
  for (let round = 0; round < 2; round++) {
    const { pipe, address } = await pusher(t)
    const peers = []
    for (let i = 0; i < 3; i++) {
      peers.push(await dialPull(t, address))
      peers[i].credit(10)
      await peers[i].ask()
    }
    await pushAll(pipe, numbers(30))
    for (const peer of peers) for (const { id } of await peer.get(10)) seen.add(id)
  }
  assert.equal(seen.size, 60)
})

test('words for a link that has ended mean nothing to the next', { timeout }, async t => {
  const { pipe, address } = await pusher(t)
  const first = await dialPull(t, address)
  first.credit(2)
  await pushAll(pipe, numbers(2))
  await first.get(2)
  // Said and gone at once: what arrives counts, what does not is tried again.
  first.peer.send(ack(1))
  await first.ask()
  await leave(pipe, first)
  const second = await dialPull(t, address)
  second.credit(5)
  await second.get(1)
  assert.deepEqual(second.jobs.map(({ frames, number }) => [frames[0], number]), [['1', 1]])
  second.ack(1)
  await pipe.drain()
})
