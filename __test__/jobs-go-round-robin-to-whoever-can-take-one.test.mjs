// Who gets which job: RFC 30's round robin over the peers that can take one now.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pusher } from './helpers/ends.mjs'
import { happening } from './helpers/happening.mjs'
import { open } from './helpers/open.mjs'
import { ipcPlace } from './helpers/place.mjs'
import { dial, greeting, listen } from './helpers/raw-peer.mjs'
import { numbers, take, texts } from './helpers/take.mjs'

const timeout = 30_000

/** A raw worker that has shaken hands. */
async function worker (t, address) {
  const peer = await dial(t, address)
  await peer.handshake('PULL')
  return peer
}

async function takeRaw (peer, count) {
  const jobs = []
  while (jobs.length < count) {
    const job = await peer.nextJob()
    assert.notEqual(job, undefined, `the connection ended after ${jobs.length} of ${count} jobs`)
    jobs.push(job)
  }
  return jobs
}

test('2N jobs to N plain peers: two each', { timeout }, async t => {
  const { pipe, address } = await pusher(t)
  const workers = []
  for (let i = 0; i < 5; i++) workers.push(await worker(t, address))
  await pipe.ready({ pullers: 5 })
  for (const job of numbers(10)) await pipe.push(job)
  const got = (await Promise.all(workers.map(peer => takeRaw(peer, 2)))).map(texts)
  await pipe.drain()
  assert.deepEqual(pipe.stats().push.peers.map(peer => peer.jobs), [2, 2, 2, 2, 2])
  assert.deepEqual(got.flat().map(Number).sort((a, b) => a - b), numbers(10).map(Number))
})

test('2N jobs to N zeropipe peers: two each', { timeout }, async t => {
  const { pipe, address } = await pusher(t)
  const workers = Array.from({ length: 5 }, () => open(t, { pull: address }))
  const got = workers.map(one => take(one, 2))
  await pipe.ready({ pullers: 5 })
  for (const job of numbers(10)) await pipe.push(job)
  const all = (await Promise.all(got)).map(texts)
  assert.deepEqual(all.flat().map(Number).sort((a, b) => a - b), numbers(10).map(Number))
})

test('2N jobs pushed at once to N peers: two each', { timeout }, async t => {
  const { pipe, address } = await pusher(t)
  const workers = []
  for (let i = 0; i < 4; i++) workers.push(await worker(t, address))
  await pipe.ready({ pullers: 4 })
  for (const job of numbers(8)) pipe.push(job)
  await pipe.drain()
  assert.deepEqual(pipe.stats().push.peers.map(peer => peer.jobs), [2, 2, 2, 2])
  await Promise.all(workers.map(peer => takeRaw(peer, 2)))
})

/** The jobs of a worker until its connection ends. */
async function takeAll (peer) {
  const jobs = []
  for (let job; (job = await peer.nextJob()) !== undefined;) jobs.push(job)
  return jobs
}

/** Numbered jobs of 1 KiB. */
const kibibyte = index => String(index).padStart(5, '0').padEnd(1024, 'x')
const numberOf = ([job]) => Number(job.slice(0, 5))

for (const [transport, place, held] of [['tcp', () => 'tcp://127.0.0.1:*', 8192], ['ipc', ipcPlace, 1024]]) {
  test(`a stalled worker over ${transport} holds what kernel buffers hold, and the others get the rest`, { timeout }, async t => {
    const total = 20_000
    const { pipe, address } = await pusher(t, {}, place())
    const stalled = await worker(t, address)
    await pipe.ready({ pullers: 1 })
    const free = await worker(t, address)
    await pipe.ready({ pullers: 2 })
    stalled.stall()

    const pushing = (async () => { for (let i = 0; i < total; i++) await pipe.push(kibibyte(i)) })()
    const seen = []
    // One job may be cut by the full buffers of the stalled worker, whose it is then.
    while (seen.length + pipe.stats().push.peers[0].jobs < total - 1) seen.push(...await takeRaw(free, 1))
    await pushing
    const hoarded = total - seen.length
    assert.ok(hoarded < held, `the stalled worker holds ${hoarded} jobs`)
    assert.ok(pipe.stats().push.queued <= 1)

    // What it holds is whole, and with the other's it is everything, once.
    const rest = Promise.all([takeAll(stalled), takeAll(free)])
    await pipe.close()
    const [late, last] = (await rest).map(jobs => jobs.map(numberOf))
    const all = [...seen.map(numberOf), ...last, ...late]
    assert.equal(all.length, total)
    assert.equal(new Set(all).size, total)
  })
}

test('jobs that wait for a stalled worker go to one that joins', { timeout }, async t => {
  const { pipe, address } = await pusher(t, {}, ipcPlace())
  const stalled = await worker(t, address)
  stalled.stall()
  // More than the kernel takes: some sit in the stalled worker's outbox, and some behind it.
  const total = 900
  for (let i = 0; i < total; i++) await pipe.push(kibibyte(i))
  const free = await worker(t, address)
  await pipe.ready({ pullers: 2 })
  const seen = []
  while (seen.length + pipe.stats().push.peers[0].jobs < total - 1) seen.push(...await takeRaw(free, 1))
  const rest = Promise.all([takeAll(stalled), takeAll(free)])
  await pipe.close()
  const [early, last] = (await rest).map(jobs => jobs.map(numberOf))
  assert.ok(early.length > 0 && seen.length > 0)
  const all = [...early, ...seen.map(numberOf), ...last]
  assert.equal(all.length, total)
  assert.equal(new Set(all).size, total)
})

test('a job that was begun for a stalled worker stays whole with it', { timeout }, async t => {
  const { pipe, address } = await pusher(t, {}, ipcPlace())
  const stalled = await worker(t, address)
  stalled.stall()
  await pipe.push(['big', Buffer.alloc(4 << 20, 'b')])
  const free = await worker(t, address)
  await pipe.ready({ pullers: 2 })
  await pipe.push('small')
  assert.deepEqual(await free.nextJob(), ['small'])
  const [name, body] = await stalled.nextJob()
  assert.equal(name, 'big')
  assert.ok(body === 'b'.repeat(4 << 20))
})

test('the frames of a job all go to one peer', { timeout }, async t => {
  const { pipe, address } = await pusher(t)
  const workers = [await worker(t, address), await worker(t, address), await worker(t, address)]
  await pipe.ready({ pullers: 3 })
  const sizes = [1, 300, 40_000, 200_000]
  const total = 120
  const reading = Promise.all(workers.map(takeAll))
  for (let i = 0; i < total; i++) {
    await pipe.push([String(i), ...Array.from({ length: i % 4 }, () => String(i).padEnd(sizes[i % 4], '.')), `end ${i}`])
  }
  await pipe.close()
  const jobs = (await reading).flat()
  assert.equal(jobs.length, total)
  for (const [first, ...rest] of jobs) {
    const i = Number(first)
    assert.equal(rest.length, i % 4 + 1)
    assert.equal(rest.pop(), `end ${i}`)
    for (const frame of rest) assert.ok(frame.length === Math.max(sizes[i % 4], first.length) && frame.startsWith(first))
  }
})

test('peers that have not shaken hands get no job', { timeout }, async t => {
  const { pipe, address } = await pusher(t)
  const silent = await dial(t, address)
  const halfway = await dial(t, address)
  halfway.send(greeting())
  await halfway.next() // our READY: it has greeted, and says nothing more
  const good = await worker(t, address)
  for (const job of numbers(20)) await pipe.push(job)
  assert.deepEqual(texts(await takeRaw(good, 20)), numbers(20))
  assert.equal(pipe.stats().push.peers.length, 1)
  silent.destroy()
})

test('of two endpoints to connect to, a dead one gets no job', { timeout }, async t => {
  const dead = await listen(t)
  await dead.close()
  const alive = await listen(t)
  const pipe = open(t, { push: { connect: [dead.address, alive.address] } })
  for (const job of numbers(20)) await pipe.push(job)
  const peer = await alive.next()
  await peer.handshake('PULL')
  assert.deepEqual(texts(await takeRaw(peer, 20)), numbers(20))
})

test('of two endpoints to connect to, one that accepts and stays silent gets no job', { timeout }, async t => {
  const silent = await listen(t)
  const alive = await listen(t)
  const pipe = open(t, { push: { connect: [silent.address, alive.address] } })
  const joined = happening(pipe, 'join')
  for (const job of numbers(20)) await pipe.push(job)
  await silent.next()
  const peer = await alive.next()
  await peer.handshake('PULL')
  assert.equal((await joined).address, alive.address)
  assert.deepEqual(texts(await takeRaw(peer, 20)), numbers(20))
})
