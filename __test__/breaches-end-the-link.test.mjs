// Whoever breaks the rules of flow (docs/flow.md, "Breaches") loses its link, and nobody else loses anything.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { puller, pusher } from './helpers/ends.mjs'
import { ack, credit, dialPull, dialPush, giveBack, mark, nack, offer, u64 } from './helpers/flow.mjs'
import { happening } from './helpers/happening.mjs'
import { command, dial, frame, greeting, header, job, ping, ready } from './helpers/raw-peer.mjs'
import { numbers } from './helpers/take.mjs'

const timeout = 10_000
const LAST = 2n ** 64n - 1n
const zeros = length => Buffer.alloc(length)

/** What a PULL with the jobs 1 to 3 in flight may not say. */
const towardPush = {
  'an ACK of a job that was never sent': [ack(4)],
  'an ACK beyond what was sent': [ack([1, 4])],
  'an ACK of everything there could be': [ack([1, LAST])],
  'an ACK of the last there could be': [ack(LAST)],
  'an ACK of a range that is long and far away': [ack([2n ** 63n, LAST])],
  'an ACK of one in flight and one that is not': [ack(1, 9)],
  'an ACK of 0': [ack(0)],
  'an ACK from 0 on': [ack([0, 3])],
  'an ACK from 0 to the last there could be': [ack([0, LAST])],
  'an ACK of a range that falls': [ack([3, 1])],
  'an ACK of ranges that fall': [ack(3, 1)],
  'an ACK of ranges that overlap': [ack([1, 2], [2, 3])],
  'an ACK of the same job twice in one command': [ack(1, 1)],
  'an ACK without ranges': [command('ACK')],
  'an ACK that is cut off': [command('ACK', u64(1, 1).subarray(0, 15))],
  'an ACK of one and a half ranges': [command('ACK', u64(1, 1, 2))],
  'an ACK with an octet too many': [command('ACK', Buffer.concat([u64(1, 1), zeros(1)]))],
  'a RETURN of a job that was never sent': [giveBack(4)],
  'a RETURN of everything there could be': [giveBack([1, LAST])],
  'a RETURN of 0': [giveBack(0)],
  'a RETURN of ranges that fall': [giveBack(2, 1)],
  'a RETURN without ranges': [command('RETURN')],
  'a RETURN that is cut off': [command('RETURN', u64(1, 1).subarray(0, 9))],
  'a NACK of a job that was never sent': [nack(4, 'no')],
  'a NACK of 0': [nack(0, 'no')],
  'a NACK of the last there could be': [nack(LAST)],
  'a NACK without a number': [command('NACK')],
  'a NACK that is cut off': [command('NACK', zeros(7))],
  'a NACK with a reason of 1,025 octets': [nack(1, 'x'.repeat(1025))],
  'a CREDIT without data': [command('CREDIT')],
  'a CREDIT of 8 octets': [command('CREDIT', u64(9))],
  'a CREDIT of 15 octets': [command('CREDIT', zeros(15))],
  'a CREDIT of 17 octets': [command('CREDIT', zeros(17))],
  'a CREDIT of 24 octets': [command('CREDIT', u64(9, 9, 9))],
  'a JOB': [mark({ id: '0123456789abcdef-1' })],
  'a message': [job('from a PULL')],
  'an empty message': [job('')],
  'a flow command within a message': [frame('from a PULL', { more: true }), ack(1)],
  'a large message': [job(zeros(1 << 20))],
  'a message of which only the header comes, and enough to be large': [header(1 << 20), zeros(100_000)]
}

/** What a PUSH with a credit of 10 may not say. */
const towardPull = {
  'a CREDIT': [credit(1)],
  'an ACK': [ack(1)],
  'an ACK that is cut off': [command('ACK')],
  'a RETURN': [giveBack(1)],
  'a NACK': [nack(1, 'no')],
  'a JOB with a name that is cut off': [command('JOB', Buffer.from([9, 105, 100]))],
  'a JOB with a value that is cut off': [command('JOB', Buffer.from([2, 105, 100, 0, 0, 0, 9, 49]))],
  'a JOB whose value would be of 4 GiB': [command('JOB', Buffer.from([2, 105, 100, 255, 255, 255, 255, 49]))],
  'a JOB with a name of no letters': [command('JOB', Buffer.from([0, 0, 0, 0, 0]))],
  'a JOB of noise': [command('JOB', Buffer.from(Array.from({ length: 200 }, (_, i) => (i * 167 + 13) % 256)))],
  'a JOB whose id is no id': [mark({ id: 'nonsense' })],
  'a JOB whose id has no number': [mark({ id: '0123456789abcdef-' })],
  'a JOB whose id is a word': [mark({ id: '0123456789abcdef-one' })],
  'a JOB whose id is negative': [mark({ id: '0123456789abcdef--1' })],
  'a JOB whose id is too large': [mark({ id: `0123456789abcdef-${2n ** 64n}` })],
  'a JOB whose id is empty': [mark({ id: '' })],
  'a JOB of attempt 0': [mark({ id: '0123456789abcdef-1', attempt: 0 })],
  'a JOB of attempt -1': [mark({ id: '0123456789abcdef-1', attempt: -1 })],
  'a JOB whose attempt is a word': [mark({ id: '0123456789abcdef-1', attempt: 'two' })],
  'a JOB whose attempt is empty': [mark({ id: '0123456789abcdef-1', attempt: '' })],
  'a JOB within a message': [frame('one', { more: true }), mark({ id: '0123456789abcdef-1' }), frame('two')],
  'a CREDIT within a message': [frame('one', { more: true }), credit(1), frame('two')],
  'a job above its credit': numbers(11).map(text => job(text)),
  'many jobs above its credit': numbers(5000).map(text => job(text)),
  'jobs of many frames above its credit': numbers(11).map(text => job(text, '', text)),
  'a command that is cut off': [frame(Buffer.from([200, 65, 67, 75]), { command: true })],
  'a command without a name': [frame('', { command: true })],
  'a command of 64 KiB and more': [header(65_537, 4), zeros(65_537)]
}

/** The event, or nothing if the peer is still served. */
const leftOrNot = (peer, left) => Promise.race([left, peer.ask().then(() => undefined, () => left)])

for (const [what, bytes] of Object.entries(towardPush)) {
  test(`toward PUSH: ${what} ends the link, and its jobs go to another`, { timeout }, async t => {
    const { pipe, address } = await pusher(t)
    const refusals = []
    pipe.on('refused', event => refusals.push(event))
    const [bad, good] = [await dialPull(t, address), await dialPull(t, address)]
    bad.credit(3)
    await bad.ask()
    for (const text of numbers(3)) await pipe.push(text)
    await bad.get(3)
    const left = happening(pipe, 'leave')
    bad.send(...bytes)
    assert.equal((await leftOrNot(bad, left))?.code, 'ERR_ZEROPIPE_PROTOCOL')
    await bad.closed
    const { queued, inFlight, done } = pipe.stats().push
    assert.deepEqual({ queued, inFlight, done }, { queued: 3, inFlight: 0, done: 0 })
    good.credit(100)
    await good.get(3)
    assert.deepEqual(good.jobs.map(({ frames, attempt }) => [frames[0], attempt]), [['0', '2'], ['1', '2'], ['2', '2']])
    assert.deepEqual(good.jobs.map(({ id }) => id), bad.jobs.map(({ id }) => id))
    assert.deepEqual(refusals.map(({ end, code, reason }) => [end, code, reason.length > 0]), [['push', 'ERR_ZEROPIPE_PROTOCOL', true]])
    good.ack([1, 3])
    await pipe.push('next')
    await good.get(4)
    good.ack(4)
    await pipe.drain()
    assert.equal(pipe.stats().push.done, 4)
  })
}

/** The same where something was said before that was no breach: [what was, what is, which jobs are left]. */
const twice = {
  'an ACK of a job that was acknowledged': [ack(2), ack(2), ['0', '2']],
  'an ACK of a range with a job that was acknowledged': [ack(2), ack([1, 3]), ['0', '2']],
  'an ACK of a job that was RETURNed': [giveBack(2), ack(2), ['0', '1', '2']],
  'a RETURN of a job that was acknowledged': [ack(2), giveBack(2), ['0', '2']],
  'a RETURN of a job that was RETURNed': [giveBack(1), giveBack(1), ['0', '1', '2']],
  'a NACK of a job that was acknowledged': [ack(3), nack(3, 'no'), ['0', '1']],
  'an ACK of a job that was NACKed': [nack(1, 'no'), ack(1), ['0', '1', '2']],
  'a NACK of a job that was NACKed': [nack(1, 'no'), nack(1, 'no'), ['0', '1', '2']]
}

for (const [what, [first, second, expected]] of Object.entries(twice)) {
  test(`toward PUSH: ${what} ends the link`, { timeout }, async t => {
    const { pipe, address } = await pusher(t)
    const refused = happening(pipe, 'refused')
    const [bad, good] = [await dialPull(t, address), await dialPull(t, address)]
    bad.credit(3)
    await bad.ask()
    for (const text of numbers(3)) await pipe.push(text)
    await bad.get(3)
    bad.send(first)
    await bad.ask()
    bad.send(second)
    assert.equal((await refused).code, 'ERR_ZEROPIPE_PROTOCOL')
    await bad.closed
    assert.equal(pipe.stats().push.queued, expected.length)
    good.credit(100)
    await good.get(expected.length)
    await good.ask()
    assert.deepEqual(good.texts.toSorted(), expected)
  })
}

test('toward PUSH: an ACK of 4,001 ranges ends the link, though each job in it is in flight', { timeout }, async t => {
  const { pipe, address } = await pusher(t)
  const refused = happening(pipe, 'refused')
  const bad = await dialPull(t, address)
  bad.credit(8001)
  for (const text of numbers(8001)) await pipe.push(text)
  await bad.get(8001)
  bad.send(ack(...Array.from({ length: 4001 }, (_, i) => 2 * i + 1)))
  assert.equal((await leftOrNot(bad, refused))?.code, 'ERR_ZEROPIPE_PROTOCOL')
  assert.deepEqual(pipe.stats().push.done, 0)
})

test('toward PUSH: words for jobs of another link are for none of this one', { timeout }, async t => {
  const { pipe, address } = await pusher(t)
  const refused = happening(pipe, 'refused')
  const [honest, bad] = [await dialPull(t, address), await dialPull(t, address)]
  honest.credit(5)
  for (const text of numbers(5)) await pipe.push(text)
  await honest.get(5)
  bad.send(ack([1, 5]))
  assert.equal((await refused).code, 'ERR_ZEROPIPE_PROTOCOL')
  await honest.ask()
  const { inFlight, done } = pipe.stats().push
  assert.deepEqual({ inFlight, done }, { inFlight: 5, done: 0 })
  honest.ack([1, 5])
  await pipe.drain()
})

test('toward PUSH: commands with other names, PING, PONG and a CREDIT of everything are no breach', { timeout }, async t => {
  const { pipe, address } = await pusher(t)
  const problems = []
  pipe.on('refused', event => problems.push(event)).on('leave', event => problems.push(event))
  const peer = await dialPull(t, address)
  peer.send(command('CREDITS', 'x'), command('ack', u64(99, 99)), command('STEAL'), command('X'), command('PONG', 'unasked'), ping(0, 'x'),
    credit(LAST, LAST), credit(0, 0), credit(LAST, LAST))
  await pipe.push('job')
  await peer.get(1)
  peer.ack(1)
  await pipe.drain()
  assert.deepEqual(problems, [])
})

for (const [what, bytes] of Object.entries(towardPull)) {
  test(`toward PULL: ${what} ends the link, and others are served on`, { timeout }, async t => {
    const { pipe, address } = await puller(t)
    const refusals = []
    pipe.on('refused', event => refusals.push(event))
    const [bad, good] = [await dialPush(t, address), await dialPush(t, address)]
    // Ten handlers that wait are a credit of ten.
    let release
    const released = new Promise(resolve => { release = resolve })
    const seen = []
    const ending = new AbortController()
    const handling = pipe.pull(async ([text]) => {
      seen.push(text.toString())
      await released
    }, { concurrency: 10, signal: ending.signal })
    await bad.when(() => bad.left === 10)
    const left = happening(pipe, 'leave')
    bad.send(...bytes)
    assert.equal((await leftOrNot(bad, left))?.code, 'ERR_ZEROPIPE_PROTOCOL')
    await bad.closed
    release()
    // What was granted before all handlers were busy may have been taken back meanwhile: then it comes back, and is sent again.
    do {
      await good.pushWhenGranted('good')
      await good.when(() => good.settled.includes(good.sent))
    } while (good.returned.includes(good.sent))
    assert.deepEqual(good.acked, [good.sent])
    assert.ok(seen.includes('good'))
    assert.deepEqual(refusals.map(({ end, code, reason }) => [end, code, reason.length > 0]), [['pull', 'ERR_ZEROPIPE_PROTOCOL', true]])
    ending.abort(new Error('enough'))
    await assert.rejects(handling, /enough/)
  })
}

test('toward PULL: a job before any CREDIT ends the link', { timeout }, async t => {
  const { pipe, address } = await puller(t)
  const refused = happening(pipe, 'refused')
  const bad = await dialPush(t, address)
  bad.push('uninvited')
  assert.equal((await refused).code, 'ERR_ZEROPIPE_PROTOCOL')
  await bad.closed
})

test('toward PULL: a job that comes with the handshake ends the link', { timeout }, async t => {
  const { pipe, address } = await puller(t)
  const refused = happening(pipe, 'refused')
  const loop = pipe.pull()
  loop.next()
  const bad = await dial(t, address)
  bad.send(greeting(), ready('PUSH', offer()), job('1'), job('2'), job('3'))
  bad.readOn()
  assert.equal((await refused).code, 'ERR_ZEROPIPE_PROTOCOL')
  await bad.closed
})

test('toward PULL: bytes beyond what was ever granted end the link', { timeout: 20_000 }, async t => {
  const { pipe, address } = await puller(t, { maxMessageSize: 8 << 20 })
  const refused = happening(pipe, 'refused')
  const bad = await dialPush(t, address)
  const loop = pipe.pull({ prefetch: 100 })
  const first = loop.next()
  await bad.when(() => bad.left >= 100)
  // One is in hand, one may lie ready, and the window has room for 16 MiB.
  bad.push(...Array(8).fill('x'.repeat(6 << 20)))
  await first
  assert.equal((await refused).code, 'ERR_ZEROPIPE_PROTOCOL')
  await bad.closed
  await loop.return()
})

test('toward PULL: what was sent under an earlier, higher CREDIT is no breach', { timeout }, async t => {
  const { pipe, address } = await puller(t)
  const problems = []
  pipe.on('refused', event => problems.push(event)).on('leave', event => problems.push(event))
  const peer = await dialPush(t, address)
  const loop = pipe.pull({ batch: 10 })
  const first = loop.next()
  await peer.when(() => peer.left === 10)
  peer.push('first')
  assert.equal((await first).value.length, 1)
  await peer.when(() => peer.left === 0)
  peer.push(...numbers(9))
  await peer.when(() => peer.returned.length === 9)
  assert.deepEqual(peer.returned, [2, 3, 4, 5, 6, 7, 8, 9, 10])
  await peer.ask()
  assert.deepEqual(problems, [])
  await loop.return()
})

test('toward PULL: commands with other names, PONG, and PING within a message are no breach', { timeout }, async t => {
  const { pipe, address } = await puller(t)
  const problems = []
  pipe.on('refused', event => problems.push(event)).on('leave', event => problems.push(event))
  const peer = await dialPush(t, address)
  const loop = pipe.pull()
  const first = loop.next()
  await peer.when(() => peer.left === 1)
  peer.send(command('STEAL', u64(1)), command('job'), frame('one', { more: true }), ping(0, 'within'), command('PONG'), command('OTHER'), frame('two'))
  assert.deepEqual((await first).value.map(String), ['one', 'two'])
  await loop.return()
  await peer.when(() => peer.acked.length === 1)
  assert.deepEqual(problems, [])
})

test('a hundred peers that break the rules one after the other leave nothing behind', { timeout: 30_000 }, async t => {
  const { pipe, address } = await pusher(t, { maxAttempts: 1000 })
  for (const text of numbers(3)) await pipe.push(text)
  const all = Object.values(towardPush)
  for (let round = 0; round < 100; round++) {
    const bad = await dialPull(t, address)
    const left = happening(pipe, 'leave')
    bad.credit(1)
    await bad.get(1)
    bad.send(...all[round % all.length], ack(2))
    await left
    const { queued, inFlight, done, dead, peers } = pipe.stats().push
    assert.deepEqual({ queued, inFlight, done, dead, peers }, { queued: 3, inFlight: 0, done: 0, dead: 0, peers: [] })
  }
  const good = await dialPull(t, address)
  good.credit(100)
  for (let settled = 0; settled < 3; settled++) {
    await good.get(settled + 1)
    good.ack(settled + 1)
  }
  await pipe.drain()
})
