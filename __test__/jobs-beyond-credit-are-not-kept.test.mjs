// What a peer sends above its credit is never queued, and what peers leave that come and go is bounded and takes nobody's turn.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { puller } from './helpers/ends.mjs'
import { dialPush } from './helpers/flow.mjs'
import { open } from './helpers/open.mjs'
import { job } from './helpers/raw-peer.mjs'
import { until } from './helpers/until.mjs'

const limit = { timeout: 30_000 }
const MiB = 2 ** 20
const numbered = (from, to) => Array.from({ length: to - from }, (_, index) => job(String(from + index)))

for (const [how, above] of Object.entries({
  'in one write with jobs within it': numbered(10, 500),
  'one by one': null,
  'of many frames': Array.from({ length: 50 }, (_, index) => job(String(10 + index), '', 'frames')),
  'with a large one': [job(Buffer.alloc(MiB))]
})) {
  test(`of jobs above the credit, ${how}, none is done, and all within it are`, limit, async t => {
    const { pipe, address } = await puller(t)
    const loop = pipe.pull({ prefetch: 10 })
    const first = loop.next()
    const peer = await dialPush(t, address)
    await peer.when(() => peer.left === 10)
    const refused = new Promise(resolve => pipe.on('refused', resolve))
    if (above !== null) peer.send(...numbered(0, 10), ...above)
    else for (const one of numbered(0, 200)) await peer.peer.flush(one)
    assert.equal((await refused).code, 'ERR_ZEROPIPE_PROTOCOL')
    await peer.closed
    // What came one by one may have been granted meanwhile.
    const granted = peer.credits.at(-1).jobs
    assert.ok(above === null ? granted >= 10 && granted < 200 : granted === 10, `${granted} were granted`)
    const other = open(t, { push: { connect: address } })
    const pushed = other.push('of another')
    const texts = [String((await first).value)]
    while (texts.at(-1) !== 'of another') texts.push(String((await loop.next()).value))
    await pushed
    // Nothing comes behind them but what somebody else sends.
    assert.deepEqual(texts.slice(0, -1), Array.from({ length: texts.length - 1 }, (_, index) => String(index)))
    assert.ok(texts.length - 1 >= 10 && texts.length - 1 <= granted, texts.join(' '))
    assert.equal(pipe.stats().pull.received, texts.length)
    await loop.return()
  })
}

test('jobs that begin beyond the credit in bytes are not done', limit, async t => {
  const { pipe, address } = await puller(t)
  const loop = pipe.pull({ prefetch: 10_000 })
  const first = loop.next()
  const peer = await dialPush(t, address)
  await peer.when(() => peer.left === 10_000)
  const { bytes } = peer.credits.at(-1)
  const refused = new Promise(resolve => pipe.on('refused', resolve))
  const size = 60_000
  peer.send(...Array.from({ length: 500 }, () => job(Buffer.alloc(size))))
  assert.equal((await refused).code, 'ERR_ZEROPIPE_PROTOCOL')
  // What was granted meanwhile, as the first ones came, may have come as well.
  const most = Math.ceil(2 * bytes / size)
  assert.ok(pipe.stats().pull.received <= most, `${pipe.stats().pull.received} jobs of at most ${most}`)
  assert.equal((await first).value[0].length, size)
  await loop.return()
})

test('a peer that sends above its credit and comes back, again and again, keeps nobody else waiting', limit, async t => {
  const { pipe, address } = await puller(t)
  const done = []
  // So that all of them together are above every credit.
  const closed = pipe.pull(([text]) => { done.push(String(text)) }, { prefetch: 10 })
  const honest = open(t, { push: { connect: address } })
  const flood = Array.from({ length: 128 }, () => job(Buffer.alloc(1024, 'x')))
  let isOver = false
  const attack = async () => {
    for (let round = 0; !isOver || round < 200; round++) {
      const peer = await dialPush(t, address)
      peer.send(...flood)
      await peer.closed
    }
  }
  const attacks = [attack(), attack()]
  for (let i = 0; i < 20_000; i++) await honest.push(i)
  await honest.drain()
  isOver = true
  await Promise.all(attacks)
  assert.deepEqual(done.filter(text => !text.startsWith('x')), Array.from({ length: 20_000 }, (_, index) => String(index)))
  // A job or two was granted to each of them.
  const jobs = done.length - 20_000
  assert.ok(jobs < 20_000, `${jobs} jobs of the attackers were done`)
  await pipe.close()
  await closed
})

test('what pushers leave that come and go is bounded, and what was dropped is told', limit, async t => {
  const { pipe, address } = await puller(t)
  const refused = []
  pipe.on('refused', event => refused.push(event))
  const loop = pipe.pull({ prefetch: 2_000 })
  const blocked = loop.next()
  const starter = await dialPush(t, address)
  await starter.pushWhenGranted('the one in hand')
  await blocked
  let left = 0
  pipe.on('leave', () => left++)
  const large = Buffer.alloc(MiB, 'y')
  for (let i = 0; i < 40; i++) {
    const peer = await dialPush(t, address)
    await peer.when(() => peer.left > 0)
    peer.push(large)
    await peer.ask(1) // it has been read
    peer.destroy()
    await until(() => left === i + 1)
  }
  assert.ok(refused.length >= 20 && refused.length < 30, `${refused.length} were dropped`)
  for (const { code, reason } of refused) {
    assert.equal(code, 'ERR_ZEROPIPE_DISCONNECTED')
    assert.match(reason, /^dropped 1 of its jobs/)
  }
  assert.equal(pipe.stats().pull.received, 41 - refused.length)

  // A pusher that lives has at least every second turn.
  const honest = open(t, { push: { connect: address } })
  for (let i = 0; i < 30; i++) await honest.push('honest')
  await until(() => pipe.stats().pull.received >= 41 - refused.length + 10)
  const texts = []
  for (let i = 0; i < 20; i++) texts.push(String((await loop.next()).value).slice(0, 6))
  // Some had been dealt before the honest one came.
  const from = texts.indexOf('honest')
  const others = texts.slice(from, from + 8).filter(text => text !== 'honest').length
  assert.ok(from >= 0 && others <= 4, texts.join(' '))
  await loop.return()
})
