// A pull end takes from its peers in turn (RFC 30): who floods doesn't starve who asks seldom.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { puller } from './helpers/ends.mjs'
import { open } from './helpers/open.mjs'
import { dial, job } from './helpers/raw-peer.mjs'
import { take, texts } from './helpers/take.mjs'

const timeout = 30_000

/** A raw pusher whose jobs, the same again and again, wait in full buffers. */
async function flood (t, address, bytes) {
  const peer = await dial(t, address)
  await peer.handshake('PUSH')
  const chunk = Buffer.concat(Array(1000).fill(bytes))
  let isOver = false
  t.after(() => { isOver = true })
  const go = async () => { while (!isOver && !peer.isClosed) await peer.flush(chunk) }
  go()
  return peer
}

test('one job from each of the pushers that have any, in turn', { timeout }, async t => {
  const { pipe, address } = await puller(t)
  await pipe.ready()
  const peers = []
  for (const name of ['a', 'b', 'c']) {
    const peer = await dial(t, address)
    await peer.handshake('PUSH')
    peers.push([name, peer])
  }
  // A first job puts the loop to work; behind it all three have jobs ready.
  const loop = pipe.pull()
  for (const [name, peer] of peers) await peer.flush(...Array.from({ length: 3000 }, () => job(name)))
  await pipe.ready({ pushers: 3 })
  const counts = { a: 0, b: 0, c: 0 }
  for (let i = 0; i < 9000; i++) counts[(await loop.next()).value[0]]++
  assert.deepEqual(counts, { a: 3000, b: 3000, c: 3000 })
  await loop.return()
})

test('a pusher that floods does not starve another', { timeout }, async t => {
  const { pipe, address } = await puller(t)
  await flood(t, address, job('flood'))
  const loop = pipe.pull()
  for (let i = 0; i < 20_000; i++) await loop.next()
  const quiet = await dial(t, address)
  await quiet.handshake('PUSH')
  await pipe.ready({ pushers: 2 })
  for (let round = 0; round < 5; round++) {
    await quiet.flush(job('quiet'))
    let others = 0
    while ((await loop.next()).value[0].toString() !== 'quiet') others++
    // Some batches were made ready before it came, and some bytes were on their way.
    assert.ok(others < 200_000, `${others} jobs passed it`)
  }
  await loop.return()
})

test('a zeropipe pusher that floods does not starve another', { timeout }, async t => {
  const { pipe, address } = await puller(t)
  const loud = open(t, { push: { connect: address } })
  const quiet = open(t, { push: { connect: address } })
  let isOver = false
  const flooding = (async () => { while (!isOver) await loud.push('loud') })().catch(() => {})
  const loop = pipe.pull()
  for (let i = 0; i < 20_000; i++) await loop.next()
  await quiet.push('quiet')
  let others = 0
  while ((await loop.next()).value[0].toString() !== 'quiet') others++
  // No bound on how long its connection takes; once there, its turn comes with the next batch.
  for (let round = 0; round < 5; round++) {
    await quiet.push('quiet')
    others = 0
    while ((await loop.next()).value[0].toString() !== 'quiet') others++
    assert.ok(others < 200_000, `${others} jobs passed it`)
  }
  isOver = true
  await loud.close({ linger: 0 })
  await flooding
  await loop.return()
})

test('a large job on its way does not keep small ones of others waiting', { timeout }, async t => {
  const { pipe, address } = await puller(t)
  const slow = await dial(t, address)
  await slow.handshake('PUSH')
  const large = job(Buffer.alloc(1 << 20, 'L'))
  await slow.flush(large.subarray(0, 600_000))
  const quick = await dial(t, address)
  await quick.handshake('PUSH')
  quick.send(job('small'))
  assert.deepEqual(texts(await take(pipe, 1)), ['small'])
  slow.send(large.subarray(600_000))
  const [[body]] = await take(pipe, 1)
  assert.equal(body.length, 1 << 20)
})

test('two loops of one pipe share the jobs, each goes to one of them', { timeout }, async t => {
  const { pipe, address } = await puller(t)
  const peer = await dial(t, address)
  await peer.handshake('PUSH')
  const loops = [pipe.pull(), pipe.pull()]
  const first = loops.map(loop => loop.next())
  peer.send(job('one'), job('two'))
  const got = (await Promise.all(first)).map(({ value: [frame] }) => frame.toString())
  assert.deepEqual(got.sort(), ['one', 'two'])
  for (const loop of loops) await loop.return()
})
