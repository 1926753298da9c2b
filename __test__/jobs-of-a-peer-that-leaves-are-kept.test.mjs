// What becomes of jobs when a connection ends: none is lost that was not on the wire, none arrives in part.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { puller, pusher } from './helpers/ends.mjs'
import { dialPull, offer, credit } from './helpers/flow.mjs'
import { happening } from './helpers/happening.mjs'
import { open } from './helpers/open.mjs'
import { ipcPlace } from './helpers/place.mjs'
import { dial, frame, job, listen } from './helpers/raw-peer.mjs'
import { numbers, take, texts } from './helpers/take.mjs'
import { until } from './helpers/until.mjs'

const timeout = 30_000

test('jobs that were not written to a plain worker that goes away return in order', { timeout }, async t => {
  const { pipe, address } = await pusher(t, {}, ipcPlace())
  const first = await dial(t, address)
  await first.handshake('PULL')
  await pipe.ready({ pullers: 1 })
  first.stall()
  const total = 2000
  const body = 'x'.repeat(1000)
  for (let i = 0; i < total; i++) await pipe.push(`${i} ${body}`)
  // What the kernel took is lost with a plain peer; what follows must come whole and in order.
  const left = happening(pipe, 'leave')
  first.destroy()
  await left
  const { queued, done } = pipe.stats().push
  assert.equal(queued + done, total)
  assert.ok(queued > 1000)
  const second = open(t, { pull: address })
  const jobs = texts(await take(second, queued)).map(text => Number(text.split(' ')[0]))
  assert.deepEqual(jobs, Array.from({ length: queued }, (_, i) => done + i))
})

test('jobs that a zeropipe worker did not acknowledge before it went away return in order, written or not', { timeout }, async t => {
  const { pipe, address } = await pusher(t, {}, ipcPlace())
  const total = 2000
  const body = 'x'.repeat(1000)
  for (let i = 0; i < total; i++) await pipe.push(`${i} ${body}`)
  const first = await dialPull(t, address)
  // It is sent a thousand, and says that it has done a few of those.
  first.credit(1000)
  await first.get(1000)
  first.ack([1, 10], 12)
  await until(() => pipe.stats().push.done === 11)
  assert.equal(pipe.stats().push.inFlight, 989)
  const left = happening(pipe, 'leave')
  first.destroy()
  await left
  assert.deepEqual([pipe.stats().push.queued, pipe.stats().push.inFlight], [total - 11, 0])
  const second = open(t, { pull: address })
  const jobs = (await take(second, total - 11, { info: true }))
  const expected = Array.from({ length: total }, (_, i) => i).filter(i => i >= 10 && i !== 11)
  assert.deepEqual(jobs.map(({ job: [text] }) => Number(text.toString().split(' ')[0])), expected)
  assert.deepEqual(jobs.map(({ attempt }) => attempt), expected.map(i => i < 1000 ? 2 : 1))
  await pipe.drain()
  assert.equal(pipe.stats().push.done, total)
})

test('jobs that a zeropipe worker has not read when it goes away return in order', { timeout }, async t => {
  const { pipe, address } = await pusher(t, {}, ipcPlace())
  const first = await dial(t, address)
  await first.handshake('PULL', { properties: offer() })
  first.stall()
  first.send(credit(1_000_000))
  const total = 2000
  const body = 'x'.repeat(1000)
  for (let i = 0; i < total; i++) await pipe.push(`${i} ${body}`)
  await until(() => pipe.stats().push.inFlight > 0)
  const left = happening(pipe, 'leave')
  first.destroy()
  await left
  const { queued, inFlight, done } = pipe.stats().push
  assert.deepEqual({ queued, inFlight, done }, { queued: total, inFlight: 0, done: 0 })
  const second = open(t, { pull: address })
  const jobs = texts(await take(second, total)).map(text => Number(text.split(' ')[0]))
  assert.deepEqual(jobs, Array.from({ length: total }, (_, i) => i))
})

test('a multipart job cut by a dying connection goes whole to the next worker', { timeout }, async t => {
  const { pipe, address } = await pusher(t, {}, ipcPlace())
  const first = await dial(t, address)
  await first.handshake('PULL')
  await pipe.ready({ pullers: 1 })
  const frames = ['head', Buffer.alloc(300_000, 'a'), '', Buffer.alloc(3 << 20, 'b'), 'tail']
  await pipe.push(frames)
  await pipe.push('next')
  const { body, more } = await first.next() // it has begun to arrive
  assert.deepEqual([body.toString(), more], ['head', true])
  first.stall()
  assert.equal(pipe.stats().push.queued, 2)
  first.destroy()
  const second = await dial(t, address)
  await second.handshake('PULL')
  assert.deepEqual(await second.nextJob(), frames.map(String))
  assert.deepEqual(await second.nextJob(), ['next'])
  await pipe.drain()
  assert.equal(pipe.stats().push.done, 2)
})

test('a multipart job cut by a dying connection of a zeropipe worker goes whole to the next, and counts an attempt', { timeout }, async t => {
  const { pipe, address } = await pusher(t, {}, ipcPlace())
  const first = await dial(t, address)
  await first.handshake('PULL', { properties: offer() })
  first.send(credit(2))
  const frames = ['head', Buffer.alloc(300_000, 'a'), '', Buffer.alloc(3 << 20, 'b'), 'tail']
  await pipe.push(frames)
  let begun
  do begun = await first.next()
  while (begun.command)
  assert.deepEqual([begun.body.toString(), begun.more], ['head', true])
  first.stall()
  first.destroy()
  const second = open(t, { pull: address })
  const [{ job: whole, attempt }] = await take(second, 1, { info: true })
  assert.ok(whole.length === frames.length && whole.every((frame, i) => frame.equals(Buffer.from(frames[i]))))
  assert.equal(attempt, 2)
  await pipe.drain()
  assert.equal(pipe.stats().push.done, 1)
})

test('small multipart jobs cut by dying connections all arrive whole, once beyond what the kernel had', { timeout }, async t => {
  const { pipe, address } = await pusher(t, {}, ipcPlace())
  const total = 20_000
  for (let i = 0; i < total; i++) await pipe.push([`${i}`, 'x'.repeat(i % 700), `end ${i}`])
  const seen = new Map()
  for (let round = 0; round < 15; round++) {
    const peer = await dial(t, address)
    await peer.handshake('PULL')
    for (let i = 0; i < 20; i++) {
      const job = await peer.nextJob()
      if (job === undefined) break
      const [number, filling, end] = job
      assert.deepEqual([filling.length, end], [number % 700, `end ${number}`])
      seen.set(number, (seen.get(number) ?? 0) + 1)
    }
    const left = happening(pipe, 'leave')
    peer.destroy()
    await left
  }
  const { queued, done } = pipe.stats().push
  assert.equal(queued + done, total)
  assert.ok(queued > 0)
  assert.ok([...seen.values()].every(count => count === 1), 'a job came twice')
})

test('what had arrived from a pusher that went away stays readable', { timeout }, async t => {
  const { pipe, address } = await puller(t)
  const loop = pipe.pull()
  const first = loop.next()
  const left = happening(pipe, 'leave')
  const peer = await dial(t, address)
  await peer.handshake('PUSH')
  await peer.flush(...numbers(3000).map(text => job(text)))
  peer.end()
  peer.readOn()
  assert.equal((await first).value[0].toString(), '0')
  for (let i = 1; i < 3000; i++) assert.equal((await loop.next()).value[0].toString(), String(i))
  await left
  await loop.return()
})

test('a job that a pusher left unfinished is dropped, and what came before it stays', { timeout }, async t => {
  const { pipe, address } = await puller(t)
  for (const cut of [frame('half', { more: true }), Buffer.from([0, 9, 1]), Buffer.from([0]), job(Buffer.alloc(500_000)).subarray(0, 400_000)]) {
    const left = happening(pipe, 'leave')
    const peer = await dial(t, address)
    await peer.handshake('PUSH')
    await peer.flush(job('whole'), cut)
    peer.end()
    peer.readOn()
    assert.deepEqual(texts(await take(pipe, 1)), ['whole'])
    await left
  }
  assert.equal(pipe.stats().pull.received, 4)
})

test('connected to a listener that goes away, a pusher keeps its jobs for when it is back', { timeout }, async t => {
  const first = await listen(t)
  const pipe = open(t, { push: { connect: first.address } })
  await pipe.push('one')
  const peer = await first.next()
  await peer.handshake('PULL')
  assert.deepEqual(await peer.nextJob(), ['one'])
  const left = happening(pipe, 'leave')
  await first.close()
  await left
  for (const job of numbers(100)) await pipe.push(job)
  assert.equal(pipe.stats().push.queued, 100)
  const again = await (await listen(t, first.address)).next()
  await again.handshake('PULL')
  for (const job of numbers(100)) assert.deepEqual(await again.nextJob(), [job])
})

test('a worker that ends orderly is sent nothing more', { timeout }, async t => {
  const { pipe, address } = await pusher(t)
  const peer = await dial(t, address)
  await peer.handshake('PULL')
  await pipe.ready({ pullers: 1 })
  const left = happening(pipe, 'leave')
  peer.readOn()
  peer.end()
  assert.equal((await left).code, 'ERR_ZEROPIPE_DISCONNECTED')
  await pipe.push('kept')
  assert.equal(pipe.stats().push.queued, 1)
})
