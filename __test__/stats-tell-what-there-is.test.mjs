import assert from 'node:assert/strict'
import { test } from 'node:test'
import { open } from './helpers/open.mjs'
import { inprocPlace } from './helpers/place.mjs'
import { dial, job } from './helpers/raw-peer.mjs'
import { numbers, take } from './helpers/take.mjs'
import { until } from './helpers/until.mjs'

const limit = { timeout: 10_000 }
const nothing = {
  push: { bound: [], peers: [], queued: 0, queuedBytes: 0, inFlight: 0, inFlightBytes: 0, done: 0, redelivered: 0, dead: 0 },
  pull: { bound: [], peers: [], received: 0 },
  request: { bound: [], peers: [], queued: 0, queuedBytes: 0, inFlight: 0, inFlightBytes: 0, done: 0, redelivered: 0, dead: 0 },
  reply: { bound: [], peers: [], received: 0 }
}

test('before the first call stats are empty, and asking opens nothing', limit, async t => {
  const pipe = open(t, inprocPlace())
  assert.deepEqual(pipe.stats(), nothing)
  assert.deepEqual(pipe.stats(), nothing)
})

test('a snapshot does not change', limit, async t => {
  const pipe = open(t, { push: inprocPlace() })
  const before = pipe.stats()
  await pipe.push('job')
  assert.deepEqual(before, nothing)
})

test('queued counts accepted jobs at once, queuedBytes what they count against the mark', limit, async t => {
  const pipe = open(t, { push: inprocPlace(), highWaterMark: { messages: 4 } })
  await pipe.push('12345')
  assert.deepEqual([pipe.stats().push.queued, pipe.stats().push.queuedBytes], [1, 5])
  await pipe.push(['123', '45'])
  assert.deepEqual([pipe.stats().push.queued, pipe.stats().push.queuedBytes], [2, 74])
  await pipe.push(new Uint8Array(100_000))
  assert.deepEqual([pipe.stats().push.queued, pipe.stats().push.queuedBytes], [3, 100_074])
  await pipe.push(null)
  assert.deepEqual([pipe.stats().push.queued, pipe.stats().push.queuedBytes], [4, 100_074])
  const waiting = pipe.push('waits and is not accepted')
  assert.equal(pipe.stats().push.queued, 4)

  await take(open(t, { pull: pipe.stats().push.bound[0] }), 5)
  await waiting
  await pipe.drain()
  const { bound, peers, ...counts } = pipe.stats().push
  assert.deepEqual(counts, { queued: 0, queuedBytes: 0, inFlight: 0, inFlightBytes: 0, done: 5, redelivered: 0, dead: 0 })
})

test('a job that a zeropipe worker has is in flight, counted as it was in the queue, until it is done', limit, async t => {
  const pipe = open(t, { push: inprocPlace() })
  await pipe.push(['123', '45'])
  const worker = open(t, { pull: pipe.stats().push.bound[0] })
  const loop = worker.pull()
  await loop.next()
  const { bound, peers: [{ address, ...peer }], ...counts } = pipe.stats().push
  assert.deepEqual(counts, { queued: 0, queuedBytes: 0, inFlight: 1, inFlightBytes: 69, done: 0, redelivered: 0, dead: 0 })
  assert.deepEqual([peer.flow, peer.inFlight, peer.done, peer.jobs], [true, 1, 0, 1])
  // What the worker says of its pusher is brought up to date a moment later.
  await until(() => worker.stats().pull.peers[0].inFlight === 1)
  assert.equal(worker.stats().pull.received, 1)

  await loop.return()
  await pipe.drain()
  const after = pipe.stats().push
  assert.deepEqual([after.inFlight, after.inFlightBytes, after.done], [0, 0, 1])
  assert.deepEqual([after.peers[0].inFlight, after.peers[0].done, after.peers[0].jobs], [0, 1, 1])
})

const keys = ['address', 'credit', 'done', 'flow', 'identity', 'inFlight', 'jobs', 'redelivered']

test('zeropipe peers have an address, an identity, flow, and the jobs that they have done', limit, async t => {
  const pusher = open(t, { push: 'tcp://127.0.0.1:*', identity: 'pusher' })
  await pusher.ready()
  const [address] = pusher.stats().push.bound
  const ann = open(t, { pull: address, identity: 'ann' })
  const bob = open(t, { pull: address, identity: 'bob' })
  await Promise.all([ann.ready({ pushers: 1 }), bob.ready({ pushers: 1 }), pusher.ready({ pullers: 2 })])
  const looping = [ann, bob].map(async worker => {
    let count = 0
    for await (const [message] of worker.pull()) {
      if (message.length === 0) break
      count++
    }
    return count
  })
  for (const number of numbers(100)) await pusher.push(number)
  await pusher.drain()
  await pusher.push(null)
  await pusher.push(null)
  const counts = await Promise.all(looping)

  await pusher.drain()
  const { peers, done } = pusher.stats().push
  assert.equal(done, 102)
  assert.deepEqual(peers.map(({ identity }) => identity).sort(), ['ann', 'bob'])
  for (const peer of peers) {
    assert.deepEqual(Object.keys(peer).sort(), keys)
    assert.match(peer.address, /^tcp:\/\/127\.0\.0\.1:\d+$/)
    assert.deepEqual([peer.flow, peer.inFlight, peer.redelivered], [true, 0, 0])
    assert.equal(peer.done, counts[peer.identity === 'ann' ? 0 : 1] + 1)
    // It may have been sent a job that it gave back unstarted.
    assert.ok(peer.jobs >= peer.done, `${peer.jobs} of ${peer.done}`)
  }
  for (const [index, worker] of [ann, bob].entries()) {
    const { push, pull: { bound, peers: [peer], received } } = worker.stats()
    assert.deepEqual(push, nothing.push)
    assert.deepEqual(bound, [])
    assert.equal(received, counts[index] + 1)
    assert.deepEqual(Object.keys(peer).sort(), keys)
    assert.deepEqual([peer.address, peer.identity, peer.flow], [address, 'pusher', true])
    await until(() => worker.stats().pull.peers[0].inFlight === 0)
  }
})

test('plain peers have an address, an identity, no flow, and the jobs that they were sent or sent', limit, async t => {
  const pipe = open(t, { push: { bind: 'tcp://127.0.0.1:*' }, pull: { bind: 'tcp://127.0.0.1:*' } })
  await pipe.ready()
  const { push, pull } = pipe.stats()
  const puller = await dial(t, push.bound[0])
  await puller.handshake('PULL', { properties: { Identity: 'puller' } })
  const pusher = await dial(t, pull.bound[0])
  await pusher.handshake('PUSH', { properties: { Identity: 'pusher' } })
  await pipe.ready({ pullers: 1, pushers: 1 })
  for (const number of numbers(10)) await pipe.push(number)
  pusher.send(...numbers(5).map(number => job(number)))
  await take(pipe, 5)
  await pipe.drain()

  const stats = pipe.stats()
  const plain = { flow: false, credit: 0, inFlight: 0, redelivered: 0 }
  const [{ address: to, ...taker }] = stats.push.peers
  assert.match(to, /^tcp:\/\/127\.0\.0\.1:\d+$/)
  assert.deepEqual(taker, { identity: 'puller', ...plain, done: 10, jobs: 10 })
  const [{ address: from, done, ...giver }] = stats.pull.peers
  assert.match(from, /^tcp:\/\/127\.0\.0\.1:\d+$/)
  assert.deepEqual(giver, { identity: 'pusher', ...plain, jobs: 5 })
  const { bound, peers, ...counts } = stats.push
  assert.deepEqual(counts, { queued: 0, queuedBytes: 0, inFlight: 0, inFlightBytes: 0, done: 10, redelivered: 0, dead: 0 })
  assert.equal(stats.pull.received, 5)
})

test('after the close nothing is bound, connected or queued', limit, async t => {
  const pipe = open(t, 'tcp://127.0.0.1:*')
  await pipe.push('job')
  await take(pipe, 1)
  await pipe.push('given up')
  await pipe.close({ linger: 0 })
  const { push, pull } = pipe.stats()
  assert.deepEqual([push.bound, push.peers, push.queued, push.queuedBytes, push.inFlight, push.inFlightBytes], [[], [], 0, 0, 0, 0])
  assert.deepEqual([pull.bound, pull.peers], [[], []])
})
