// A large job that arrives slowly, or not at all, holds nothing that others need (docs/flow.md, "Memory of a puller").
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { puller, replier } from './helpers/ends.mjs'
import { dialPush } from './helpers/flow.mjs'
import { open } from './helpers/open.mjs'
import { dial, frame, header, job } from './helpers/raw-peer.mjs'
import { dialAsker } from './helpers/raw-requests.mjs'
import { relay } from './helpers/relay.mjs'
import { take } from './helpers/take.mjs'
import { until } from './helpers/until.mjs'
import { worker } from './helpers/worker.mjs'

const limit = { timeout: 60_000 }
const MiB = 2 ** 20

/** How a large job begins: one frame, or the first of several, when nobody can know how many will follow. */
const beginnings = {
  'one frame of 20 MiB': header(20 * MiB),
  'a frame of 4 MiB and more behind it': Buffer.concat([header(4 * MiB, 1), Buffer.alloc(4 * MiB), header(MiB)]),
  'a frame of 64 MiB, announced': header(64 * MiB)
}

for (const [beginning, bytes] of Object.entries(beginnings)) {
  test(`${beginning}, which does not arrive: jobs of another pusher are done meanwhile`, limit, async t => {
    const { pipe, address } = await puller(t)
    const jobs = take(pipe, 2_000)
    const slow = await dialPush(t, address)
    await slow.when(() => slow.left > 0)
    slow.send(bytes)
    const other = open(t, { push: { connect: address } })
    for (let i = 0; i < 1_900; i++) await other.push(Buffer.alloc(100))
    for (let i = 0; i < 100; i++) await other.push(Buffer.alloc(64 * 1024))
    assert.equal((await jobs).length, 2_000)
    await other.drain()
  })

  test(`${beginning}, which does not arrive: requests of another requester are answered meanwhile`, limit, async t => {
    const { pipe, address } = await replier(t)
    const closed = pipe.reply(([body]) => String(body.length), { concurrency: 8 })
    const slow = await dialAsker(t, address)
    await slow.when(() => slow.left > 0)
    slow.send(frame('tag', { more: true }), frame('', { more: true }), bytes)
    const other = open(t, { request: { connect: address } })
    for (let i = 0; i < 200; i++) assert.equal(String(await other.request(Buffer.alloc(i * 400))), String(i * 400))
    await pipe.close()
    await closed
  })

  test(`${beginning}, which does not arrive from a plain pusher: others are read meanwhile`, limit, async t => {
    const { pipe, address } = await puller(t)
    const jobs = take(pipe, 2_000)
    // Twenty announce more than may be held, and one brings all but the last byte of it.
    for (let i = 0; i < 20; i++) {
      const slow = await dial(t, address)
      await slow.handshake('PUSH')
      slow.send(bytes)
    }
    const held = await dial(t, address)
    await held.handshake('PUSH')
    held.send(header(64 * MiB - 1), Buffer.alloc(64 * MiB - 2))
    const plain = await dial(t, address)
    await plain.handshake('PUSH')
    await plain.flush(...Array.from({ length: 1_000 }, () => job(Buffer.alloc(1_000))))
    const other = open(t, { push: { connect: address } })
    for (let i = 0; i < 1_000; i++) await other.push(Buffer.alloc(1_000))
    assert.equal((await jobs).length, 2_000)
  })
}

test('a large job that brings a byte now and then is given up, and its connection with it', limit, async t => {
  const { pipe, address } = await puller(t)
  const jobs = pipe.pull()
  const next = jobs.next()
  const flow = await dialPush(t, address)
  await flow.when(() => flow.left > 0)
  const plain = await dial(t, address)
  await plain.handshake('PUSH')
  plain.readOn()
  const refused = []
  pipe.on('refused', event => refused.push(event))
  for (const slow of [flow, plain]) slow.send(header(64 * MiB))
  // One that waits for a slow loop, with a large job behind others that are not taken, is not late.
  const { pipe: slowPipe, address: slowAddress } = await puller(t)
  const waiting = await dial(t, slowAddress)
  await waiting.handshake('PUSH')
  waiting.send(job('one'), job('two'), header(MiB), Buffer.alloc(100_000))
  const slowJobs = slowPipe.pull()
  assert.equal(String((await slowJobs.next()).value), 'one')
  const drip = setInterval(() => [flow, plain].forEach(slow => slow.isClosed || slow.send(Buffer.alloc(1))), 500)
  t.after(() => clearInterval(drip))
  await Promise.all([flow.closed, plain.closed])
  await until(() => refused.length === 2)
  for (const { code, reason } of refused) assert.deepEqual([code, reason], ['ERR_ZEROPIPE_TIMEOUT', 'a large job has stopped arriving'])
  assert.equal(waiting.isClosed, false)
  waiting.send(Buffer.alloc(MiB - 100_000))
  assert.equal(String((await slowJobs.next()).value), 'two')
  assert.equal((await slowJobs.next()).value[0].length, MiB)
  await slowJobs.return()
  // Whoever comes after it is served.
  const other = await dialPush(t, address)
  await other.pushWhenGranted('job')
  assert.equal(String((await next).value), 'job')
  await jobs.return()
})

test('what large jobs hold that arrive from many pushers at once is bounded, and all of them are done', limit, async t => {
  const far = worker(t, 'tcp://127.0.0.1:1', `
    const { pipe: makePipe } = await import('zeropipe')
    const bound = makePipe({ pull: { bind: 'tcp://127.0.0.1:*' } })
    await bound.ready()
    say('at ' + bound.stats().pull.bound[0])
    setInterval(() => say('rss ' + process.memoryUsage().rss), 50)
    let count = 0
    for await (const [body] of bound.pull({ prefetch: 1 })) say('bytes ' + body.length)
  `)
  await until(() => far.lines.some(line => line.startsWith('at ')))
  const address = far.lines.find(line => line.startsWith('at ')).slice(3)
  const resident = () => far.lines.findLast(line => line.startsWith('rss '))?.slice(4) / MiB
  /** Once it has not changed by a MiB for ten looks. */
  const settled = () => until(() => {
    const seen = far.lines.filter(line => line.startsWith('rss ')).slice(-10).map(line => line.slice(4) / MiB)
    return seen.length === 10 && Math.max(...seen) - Math.min(...seen) < 1
  })
  const peers = []
  for (let i = 0; i < 12; i++) {
    const peer = await dialPush(t, address)
    await peer.when(() => peer.left > 0)
    peers.push(peer)
  }
  await settled()
  const before = resident()
  const most = Buffer.alloc(30 * MiB, 'x')
  for (const peer of peers) peer.send(header(32 * MiB), most)
  await until(() => resident() > before + 60)
  far.lines.length = 0
  await settled()
  const grown = resident() - before
  assert.ok(grown < 64 + 32 + 16, `grew by ${grown} MiB`)
  for (const peer of peers) peer.send(Buffer.alloc(2 * MiB, 'x'))
  await until(() => far.lines.filter(line => line === `bytes ${32 * MiB}`).length === 12)
})

test('pushers whose large jobs find no memory for a while are not taken for dead, nor is who does not read them', limit, async t => {
  const heartbeat = { interval: 200, timeout: 600 }
  const { pipe, address } = await puller(t, { heartbeat })
  const left = []
  pipe.on('leave', event => left.push(event))
  const pushers = []
  for (let i = 0; i < 4; i++) {
    const line = await relay(t, address, 12 * MiB)
    const one = open(t, { push: { connect: line.address }, heartbeat })
    one.on('leave', event => left.push(event))
    pushers.push(one)
  }
  const taken = take(pipe, 4)
  await Promise.all(pushers.map(one => one.push(Buffer.alloc(32 * MiB))))
  assert.deepEqual((await taken).map(([body]) => body.length), Array(4).fill(32 * MiB))
  await Promise.all(pushers.map(one => one.drain()))
  assert.deepEqual(left, [])
})
