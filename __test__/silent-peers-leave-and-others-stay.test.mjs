// ZMTP heartbeats (RFC 37): who is silent for too long is gone, and nobody else.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { puller, pusher } from './helpers/ends.mjs'
import { happening } from './helpers/happening.mjs'
import { libzmq } from './helpers/libzmq.mjs'
import { command, dial, frame, job, ping } from './helpers/raw-peer.mjs'
import { take, texts } from './helpers/take.mjs'
import { until } from './helpers/until.mjs'

const timeout = 30_000
/** For peers that are to be dropped, */
const heartbeat = { interval: 20, timeout: 60 }
/** and for those that answer, on a machine that has other things to do as well. */
const patient = { interval: 20, timeout: 5000 }

const pingBody = '\x04PING\0\0'
/** Resolves after so many heartbeats of another pipe: time in which nothing happens. */
async function heartbeatsPass (t, count) {
  const { address } = await puller(t, { heartbeat: patient })
  const clock = await dial(t, address)
  await clock.handshake('PUSH')
  await pings(clock, count, () => clock.send(command('PONG')))
}

const isPing = frame => frame?.command === true && frame.body.subarray(0, 5).toString('latin1') === '\x04PING'

/** The next `count` PINGs; anything else is an error. */
async function pings (peer, count, answer = () => {}) {
  for (; count > 0; count--) {
    const got = await peer.next()
    assert.ok(isPing(got), `a PING, not ${got?.body.toString('latin1')}`)
    answer(got)
  }
}

for (const [type, makeEnd, side] of [['PULL', pusher, 'push'], ['PUSH', puller, 'pull']]) {
  test(`a silent 3.1 ${type} is asked, and leaves when it does not answer`, { timeout }, async t => {
    const { pipe, address } = await makeEnd(t, { heartbeat })
    const left = happening(pipe, 'leave')
    const peer = await dial(t, address)
    await peer.handshake(type)
    const ask = await peer.next()
    assert.ok(isPing(ask))
    assert.equal(ask.body.toString('latin1'), pingBody)
    peer.readOn()
    const { code, end } = await left
    assert.equal(code, 'ERR_ZEROPIPE_TIMEOUT')
    assert.equal(end, side)
    await peer.closed
    assert.equal(pipe.stats()[side].peers.length, 0)
  })

  test(`a 3.1 ${type} that answers every PING stays`, { timeout }, async t => {
    const { pipe, address } = await makeEnd(t, { heartbeat: patient })
    const peer = await dial(t, address)
    await peer.handshake(type)
    await pings(peer, 20, () => peer.send(command('PONG')))
    assert.equal(pipe.stats()[side].peers.length, 1)
  })

  test(`a 3.0 ${type} is never asked, and its silence is no reason to leave`, { timeout }, async t => {
    const { pipe, address } = await makeEnd(t, { heartbeat })
    const old = await dial(t, address)
    await old.handshake(type, { minor: 0 })
    let asked = false
    old.next().then(frame => { asked = frame !== undefined })
    await heartbeatsPass(t, 15)
    assert.equal(asked, false)
    assert.equal(pipe.stats()[side].peers.length, 1)
  })
}

test('any byte counts as life', { timeout }, async t => {
  const { pipe, address } = await puller(t, { heartbeat: patient })
  const peer = await dial(t, address)
  await peer.handshake('PUSH')
  // One long frame, a byte to each PING: never a whole message, never a PONG.
  peer.send(Buffer.from([0, 30]))
  await pings(peer, 20, () => peer.send(Buffer.from('.')))
  assert.equal(pipe.stats().pull.peers.length, 1)
  peer.send(Buffer.from('.'.repeat(10)))
  assert.deepEqual(texts(await take(pipe, 1)), ['.'.repeat(30)])
})

test('a PING is answered with its own context, by both ends', { timeout }, async t => {
  for (const [type, makeEnd] of [['PULL', pusher], ['PUSH', puller]]) {
    const { address } = await makeEnd(t)
    for (const minor of [0, 1, 2]) {
      const peer = await dial(t, address)
      await peer.handshake(type, { minor })
      for (const context of ['', 'x', 'sixteen bytes ok']) {
        peer.send(ping(0, context))
        const { body, command, more } = await peer.next()
        assert.deepEqual([body.toString(), command, more], [`\x04PONG${context}`, true, false])
      }
    }
  }
})

test('a PING is answered while jobs flow, between two of them', { timeout }, async t => {
  const { pipe, address } = await pusher(t)
  const peer = await dial(t, address)
  await peer.handshake('PULL')
  const total = 16 // as many answers may wait; it takes 16 MiB of jobs before it reads any
  for (let i = 0; i < total; i++) {
    peer.send(ping(0, `context ${i}`))
    await pipe.push(['head', Buffer.alloc(1 << 20)])
  }
  let jobs = 0
  let pongs = 0
  let inside = false
  while (jobs < total || pongs < total) {
    const { body, command, more } = await peer.next()
    if (command) {
      assert.equal(inside, false, 'a command inside a job')
      assert.equal(body.toString(), `\x04PONGcontext ${pongs++}`)
    } else {
      inside = more
      if (!more) jobs++
    }
  }
})

test('a peer that breaks its promise (TTL) leaves, though we ask nothing', { timeout }, async t => {
  for (const minor of [0, 1]) {
    const { pipe, address } = await puller(t, { heartbeat: { interval: 0 } })
    const left = happening(pipe, 'leave')
    const peer = await dial(t, address)
    await peer.handshake('PUSH', { minor })
    peer.send(ping(1))
    assert.equal((await peer.next()).body.toString(), '\x04PONG')
    peer.readOn()
    assert.equal((await left).code, 'ERR_ZEROPIPE_TIMEOUT')
    await peer.closed
  }
})

test('a peer that keeps its promise (TTL) stays', { timeout }, async t => {
  const { pipe, address } = await puller(t, { heartbeat: { interval: 0 } })
  const peer = await dial(t, address)
  await peer.handshake('PUSH')
  peer.send(ping(10))
  await peer.next()
  for (let i = 0; i < 15; i++) {
    await sleep(100)
    peer.send(job(`job ${i}`))
  }
  assert.equal((await take(pipe, 15)).length, 15)
  assert.equal(pipe.stats().pull.peers.length, 1)
})

test('an interval of 0 asks nothing', { timeout }, async t => {
  const { pipe, address } = await puller(t, { heartbeat: { interval: 0, timeout: 20 } })
  const quiet = await dial(t, address)
  await quiet.handshake('PUSH')
  let asked = false
  quiet.next().then(frame => { asked = frame !== undefined })
  await heartbeatsPass(t, 10)
  assert.equal(asked, false)
  assert.equal(pipe.stats().pull.peers.length, 1)
})

test('a pusher that waits for a slow loop is not taken for dead', { timeout }, async t => {
  const { pipe, address } = await puller(t, { heartbeat: { interval: 20, timeout: 200 } })
  const left = []
  pipe.on('leave', event => left.push(event))
  const peer = await dial(t, address)
  await peer.handshake('PUSH')
  // More than is read ahead. It never answers a PING: behind its jobs nobody would hear it.
  const total = 2000
  const sending = peer.flush(...Array.from({ length: total }, () => job(Buffer.alloc(4096))))
  let count = 0
  for await (const [body] of pipe.pull()) {
    assert.equal(body.length, 4096)
    if (count++ === 0) await sleep(800)
    if (count === total) break
  }
  await sending
  assert.deepEqual(left, [])
})

test('a worker that stalls with jobs unread is not taken for dead', { timeout }, async t => {
  // The first question may be left unanswered before there is a job: long enough for that job to be pushed meanwhile.
  const { pipe, address } = await pusher(t, { heartbeat: { interval: 20, timeout: 1000 } })
  const left = []
  pipe.on('leave', event => left.push(event))
  const stalled = await dial(t, address)
  await stalled.handshake('PULL')
  stalled.stall()
  await pipe.push(Buffer.alloc(16 << 20))
  await heartbeatsPass(t, 70)
  assert.deepEqual(left, [])
  assert.equal(pipe.stats().push.peers.length, 1)
  assert.equal((await stalled.nextJob())[0].length, 16 << 20)
})

test('unknown commands and properties are ignored', { timeout }, async t => {
  const { pipe, address } = await puller(t)
  const peer = await dial(t, address)
  const joined = happening(pipe, 'join')
  await peer.handshake('PUSH', { properties: { Identity: 'stranger', 'X-Colour': 'blue', Resource: '' } })
  assert.equal((await joined).identity, 'stranger')
  peer.send(
    job('one'), command('HELLO', 'there'), command('SUBSCRIBE', 'x'), job('two'),
    command('READY'), command('PONG', 'never asked'), frame(Buffer.concat([Buffer.from([3]), Buffer.from('BIG'), Buffer.alloc(1000)]), { command: true }), job('three'))
  assert.deepEqual(texts(await take(pipe, 3)), ['one', 'two', 'three'])
})

test('a greeting of a later version is one of a peer', { timeout }, async t => {
  for (const minor of [0, 1, 2, 255]) {
    const { pipe, address } = await puller(t)
    const peer = await dial(t, address)
    await peer.handshake('PUSH', { minor })
    peer.send(job(`3.${minor}`))
    assert.deepEqual(texts(await take(pipe, 1)), [`3.${minor}`])
  }
})

test('a command between two frames of a job, as libzmq answers a PING, disturbs nothing', { timeout }, async t => {
  const { pipe, address } = await puller(t)
  const peer = await dial(t, address)
  await peer.handshake('PUSH')
  peer.send(frame('one', { more: true }), command('PONG'), ping(0, 'between'), frame('job'), job('another'))
  const [first, second] = await take(pipe, 2)
  assert.deepEqual([first.map(String), second.map(String)], [['one', 'job'], ['another']])
})

test('a libzmq pusher whose jobs have many frames answers PINGs between them and stays', { timeout }, async t => {
  const { pipe, address } = await puller(t, { heartbeat: { interval: 20, timeout: 5_000 } })
  const events = []
  pipe.on('leave', event => events.push(event)).on('refused', event => events.push(event))
  libzmq(t, `
    const push = new zmq.Push()
    push.connect('${address}')
    const frames = Array.from({ length: 4 }, () => Buffer.alloc(20_000))
    for (let i = 0; i < 5_000; i++) await push.send(frames)
    await new Promise(() => setInterval(() => {}, 1000))
  `)
  for (const message of await take(pipe, 5_000)) assert.deepEqual(message.map(one => one.length), [20_000, 20_000, 20_000, 20_000])
  assert.deepEqual(events, [])
})

// It may have left: its system would answer with a reset, and throw away what it had not sent yet.
test('a plain pusher that is not read is sent nothing', { timeout }, async t => {
  const { pipe, address } = await puller(t, { heartbeat: patient })
  const peer = await dial(t, address)
  await peer.handshake('PUSH')
  await peer.flush(job('one'), job('two'))
  await until(() => pipe.stats().pull.received === 2)
  let asked = false
  peer.next().then(() => { asked = true })
  await heartbeatsPass(t, 15)
  assert.equal(asked, false)
  // Once it is read, it is asked again.
  assert.deepEqual(texts(await take(pipe, 2)), ['one', 'two'])
  await until(() => asked)
})
