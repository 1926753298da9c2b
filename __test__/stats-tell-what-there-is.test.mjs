import assert from 'node:assert/strict'
import { test } from 'node:test'
import { open } from './helpers/open.mjs'
import { inprocPlace } from './helpers/place.mjs'
import { numbers, take } from './helpers/take.mjs'

const limit = { timeout: 10_000 }
const nothing = {
  push: { bound: [], peers: [], queued: 0, queuedBytes: 0, delivered: 0 },
  pull: { bound: [], peers: [], received: 0 }
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
  const { queued, queuedBytes, delivered } = pipe.stats().push
  assert.deepEqual({ queued, queuedBytes, delivered }, { queued: 0, queuedBytes: 0, delivered: 5 })
})

test('peers have an address, an identity, no flow, and the jobs that they were sent or sent', limit, async t => {
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
  const { peers, delivered } = pusher.stats().push
  assert.equal(delivered, 102)
  assert.deepEqual(peers.map(({ identity }) => identity).sort(), ['ann', 'bob'])
  for (const peer of peers) {
    assert.deepEqual(Object.keys(peer).sort(), ['address', 'flow', 'identity', 'jobs'])
    assert.match(peer.address, /^tcp:\/\/127\.0\.0\.1:\d+$/)
    assert.equal(peer.flow, false)
    assert.equal(peer.jobs, counts[peer.identity === 'ann' ? 0 : 1] + 1)
  }
  for (const [index, worker] of [ann, bob].entries()) {
    assert.deepEqual(worker.stats(), {
      push: nothing.push,
      pull: { bound: [], peers: [{ address, identity: 'pusher', flow: false, jobs: counts[index] + 1 }], received: counts[index] + 1 }
    })
  }
})

test('after the close nothing is bound, connected or queued', limit, async t => {
  const pipe = open(t, 'tcp://127.0.0.1:*')
  await pipe.push('job')
  await take(pipe, 1)
  await pipe.push('given up')
  await pipe.close({ linger: 0 })
  const { push, pull } = pipe.stats()
  assert.deepEqual([push.bound, push.peers, push.queued, push.queuedBytes], [[], [], 0, 0])
  assert.deepEqual([pull.bound, pull.peers], [[], []])
})
