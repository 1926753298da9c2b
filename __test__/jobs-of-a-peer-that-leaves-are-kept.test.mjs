// What becomes of jobs when a connection ends: none is lost that was not on the wire, none arrives in part.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { puller, pusher } from './helpers/ends.mjs'
import { happening } from './helpers/happening.mjs'
import { open } from './helpers/open.mjs'
import { ipcPlace } from './helpers/place.mjs'
import { dial, frame, job, listen } from './helpers/raw-peer.mjs'
import { numbers, take, texts } from './helpers/take.mjs'

const timeout = 30_000

test('jobs that were not written to a worker that goes away return in order', { timeout }, async t => {
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
  const { queued, delivered } = pipe.stats().push
  assert.equal(queued + delivered, total)
  assert.ok(queued > 1000)
  const second = open(t, { pull: address })
  const jobs = texts(await take(second, queued)).map(text => Number(text.split(' ')[0]))
  assert.deepEqual(jobs, Array.from({ length: queued }, (_, i) => delivered + i))
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
  assert.equal(pipe.stats().push.delivered, 2)
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
  const { queued, delivered } = pipe.stats().push
  assert.equal(queued + delivered, total)
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
