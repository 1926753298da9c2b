// Only what a peer sends shows that it is alive (docs/flow.md, "Heartbeats"): its system takes what we write for long after it is gone.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setInterval, setTimeout as sleep } from 'node:timers/promises'
import { puller, pusher, replier, requester } from './helpers/ends.mjs'
import { NO_LIMIT, dialPull, dialPush } from './helpers/flow.mjs'
import { happening } from './helpers/happening.mjs'
import { dialAsker, dialWorker } from './helpers/raw-requests.mjs'
import { header } from './helpers/raw-peer.mjs'
import { relay } from './helpers/relay.mjs'
import { open } from './helpers/open.mjs'
import { take } from './helpers/take.mjs'
import { until } from './helpers/until.mjs'
import { worker } from './helpers/worker.mjs'

const limit = { timeout: 20_000 }
const heartbeat = { interval: 200, timeout: 400 }
/** For an end that never asks. */
const silent = { interval: 0 }

/** Does something every few milliseconds until `left` resolves, and resolves with that. */
async function every (milliseconds, left, work) {
  let event
  left.then(found => { event = found })
  for await (const _ of setInterval(milliseconds)) {
    if (event !== undefined) return event
    work()
  }
}

for (const milliseconds of [100, 10, 1]) {
  const rate = `every ${milliseconds} ms`

  test(`a worker that has gone silent leaves, though a job is written to it ${rate}`, limit, async t => {
    const { pipe, address } = await pusher(t, { heartbeat })
    const left = happening(pipe, 'leave')
    await dialPull(t, address) // a second peer, so that the I/O thread does the writing
    const dead = await dialPull(t, address)
    dead.isAnswering = false
    dead.credit(NO_LIMIT)
    const { code } = await every(milliseconds, left, () => pipe.push('job'))
    assert.equal(code, 'ERR_ZEROPIPE_TIMEOUT')
  })

  test(`a replier that has gone silent leaves, though a request is written to it ${rate}`, limit, async t => {
    const { pipe, address } = await requester(t, { heartbeat })
    const left = happening(pipe, 'leave')
    await dialWorker(t, address) // a second peer, so that the I/O thread does the writing
    const dead = await dialWorker(t, address)
    dead.isAnswering = false
    dead.credit(NO_LIMIT)
    const { code } = await every(milliseconds, left, () => pipe.request('question').catch(() => {}))
    assert.equal(code, 'ERR_ZEROPIPE_TIMEOUT')
  })

  test(`a pusher that has gone silent leaves, though a job is acknowledged to it ${rate}`, limit, async t => {
    const { pipe, address } = await puller(t, { heartbeat })
    const left = happening(pipe, 'leave')
    const jobs = pipe.pull({ prefetch: 20_000 })
    const first = jobs.next()
    const dead = await dialPush(t, address)
    await dead.when(() => dead.left >= 20_000)
    dead.push(...Array(20_000).fill('job'))
    dead.isAnswering = false
    await first
    const { code } = await every(milliseconds, left, () => jobs.next())
    assert.equal(code, 'ERR_ZEROPIPE_TIMEOUT')
  })

  test(`a requester that has gone silent leaves, though a reply is written to it ${rate}`, limit, async t => {
    const { pipe, address } = await replier(t, { heartbeat })
    const left = happening(pipe, 'leave')
    const waiting = []
    let isOver = false
    const handler = () => isOver ? 'too late' : new Promise(resolve => waiting.push(resolve))
    const closed = pipe.reply(handler, { concurrency: 20_000, prefetch: 20_000 })
    const dead = await dialAsker(t, address)
    await dead.when(() => dead.left >= 20_000)
    for (let i = 0; i < 20_000; i++) dead.put('tag', '', 'question')
    dead.isAnswering = false
    await until(() => waiting.length > 0)
    const { code } = await every(milliseconds, left, () => waiting.pop()?.('answer'))
    assert.equal(code, 'ERR_ZEROPIPE_TIMEOUT')
    // Handlers of jobs that are at hand may yet begin.
    isOver = true
    for (const resolve of waiting) resolve('too late')
    await pipe.close()
    await closed
  })
}

test('a worker process that is stopped while jobs trickle leaves, and its jobs go to the other', limit, async t => {
  const { pipe, address } = await pusher(t, { heartbeat })
  const count = "let count = 0; pull(() => { count++ }, { concurrency: 1000 }); await order('tell'); say('count ' + count)"
  const workers = ['one', 'other'].map(() => worker(t, address, count))
  await pipe.ready({ pullers: 2 })
  // Enough for hundreds to be granted.
  for (let i = 0; i < 60_000; i++) await pipe.push('warm')
  await pipe.drain()
  const left = happening(pipe, 'leave')
  workers[0].child.kill('SIGSTOP')
  const { code } = await every(20, left, () => pipe.push('trickle'))
  assert.equal(code, 'ERR_ZEROPIPE_TIMEOUT')
  await pipe.drain()
})

const MiB = 2 ** 20

test('a worker at the end of a slow line is not taken for dead, however much is on its way and though it never asks', limit, async t => {
  const { pipe, address } = await pusher(t, { heartbeat })
  const left = []
  pipe.on('leave', event => left.push(event))
  const line = await relay(t, address, MiB)
  const far = open(t, { pull: { connect: line.address }, heartbeat: silent })
  // One that takes ten times as long as a dead one is waited for, and some behind it.
  for (const size of [2 * MiB, MiB / 2, MiB / 2, MiB]) await pipe.push(Buffer.alloc(size))
  const jobs = await take(far, 4)
  assert.deepEqual(jobs.map(([body]) => body.length), [2 * MiB, MiB / 2, MiB / 2, MiB])
  assert.deepEqual(left, [])
})

test('a requester at the end of a slow line is not taken for dead while a large reply is on its way', limit, async t => {
  const { pipe, address } = await replier(t, { heartbeat })
  const left = []
  pipe.on('leave', event => left.push(event))
  const closed = pipe.reply(([size]) => Buffer.alloc(Number(size)), { concurrency: 4 })
  const line = await relay(t, address, MiB)
  const far = open(t, { request: { connect: line.address }, heartbeat: silent })
  const sizes = [2 * MiB, MiB, MiB / 2]
  const replies = await Promise.all(sizes.map(size => far.request(size)))
  assert.deepEqual(replies.map(([body]) => body.length), sizes)
  assert.deepEqual(left, [])
  await pipe.close()
  await closed
})

test('a line that is cut ends the connection, though its buffers still take jobs', limit, async t => {
  const { pipe, address } = await pusher(t, { heartbeat })
  await dialPull(t, address) // a second peer, so that the I/O thread does the writing
  const line = await relay(t, address)
  const far = open(t, { pull: { connect: line.address }, heartbeat: silent })
  far.pull(() => {}, { prefetch: 100_000 })
  await pipe.ready({ pullers: 2 })
  await pipe.push('first')
  await pipe.drain()
  const left = happening(pipe, 'leave')
  line.cut()
  const { code } = await every(5, left, () => pipe.push('job'))
  assert.equal(code, 'ERR_ZEROPIPE_TIMEOUT')
})

test('whoever sends much, for long, and hears nothing is sent a PING, and whoever sends little is not', limit, async t => {
  const { pipe, address } = await puller(t, { heartbeat: silent })
  const jobs = pipe.pull({ prefetch: 10 })
  const first = jobs.next()
  for (const [size, isAnswered] of [[8 * 1024, true], [1, false]]) {
    const peer = await dialPush(t, address)
    const waits = pings => pings.filter(name => name === 'PING').length
    await peer.when(() => peer.left > 0)
    await peer.ask(1)
    const before = waits(peer.names)
    peer.isAnswering = false // its answer would stand in the middle of the frame
    peer.send(header(20 * size))
    for (let piece = 0; piece < 20; piece++) {
      peer.send(Buffer.alloc(size))
      await sleep(20)
    }
    await peer.ask(1)
    assert.equal(waits(peer.names) > before, isAnswered)
    peer.destroy()
  }
  assert.equal((await first).value[0].length, 20 * 8 * 1024)
  await jobs.return()
})
