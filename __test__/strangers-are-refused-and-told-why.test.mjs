// What is no peer is refused, and told why; the process and the other peers don't notice.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pusher, puller } from './helpers/ends.mjs'
import { happening } from './helpers/happening.mjs'
import { command, dial, frame, greeting, header, job, ping, ready } from './helpers/raw-peer.mjs'
import { take, texts } from './helpers/take.mjs'

const timeout = 30_000

/** Bytes that a stranger sends at once, and the code and reason with which it is refused by a pull end. */
const strangers = {
  'random garbage': [Buffer.alloc(4096, 0x5a), 'ERR_ZEROPIPE_NOT_ZMTP', /ZMTP/],
  'an HTTP request': [Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'), 'ERR_ZEROPIPE_NOT_ZMTP', /ZMTP/],
  'a TLS hello': [Buffer.from('16030100c8010000c40303', 'hex'), 'ERR_ZEROPIPE_NOT_ZMTP', /ZMTP/],
  'a ZMTP 1.0 greeting': [Buffer.from('0100', 'hex'), 'ERR_ZEROPIPE_NOT_ZMTP', /ZMTP/],
  'a ZMTP 2.0 greeting': [Buffer.from('ff00000000000000017f01080000', 'hex'), 'ERR_ZEROPIPE_INCOMPATIBLE_PEER', /version 2\.0/],
  'a signature that ends wrongly': [Buffer.from('ff00000000000000017e', 'hex'), 'ERR_ZEROPIPE_NOT_ZMTP', /ZMTP/],
  'a greeting for mechanism CURVE': [greeting({ mechanism: 'CURVE' }), 'ERR_ZEROPIPE_INCOMPATIBLE_PEER', /CURVE/],
  'a greeting for mechanism PLAIN': [greeting({ mechanism: 'PLAIN' }), 'ERR_ZEROPIPE_INCOMPATIBLE_PEER', /PLAIN/],
  'a PULL that dials a pull end': [hello(ready('PULL')), 'ERR_ZEROPIPE_INCOMPATIBLE_PEER', /PULL/],
  'a SUB': [hello(ready('SUB')), 'ERR_ZEROPIPE_INCOMPATIBLE_PEER', /SUB/],
  'a READY without a socket type': [hello(command('READY')), 'ERR_ZEROPIPE_INCOMPATIBLE_PEER', /./],
  'a READY that is cut off': [hello(command('READY', '\x0bSocket-Type\0\0')), 'ERR_ZEROPIPE_PROTOCOL', /cut off/],
  'a message before READY': [hello(job('too early')), 'ERR_ZEROPIPE_PROTOCOL', /READY/],
  'a PING before READY': [hello(ping(), ready('PUSH')), 'ERR_ZEROPIPE_PROTOCOL', /READY/],
  'an ERROR instead of READY': [hello(command('ERROR', '\x02no')), 'ERR_ZEROPIPE_INCOMPATIBLE_PEER', /no/],
  'a command of 4 TiB before READY': [hello(header(2 ** 42, 4)), 'ERR_ZEROPIPE_PROTOCOL', /4398046511104/],
  'a command without a name': [hello(frame('', { command: true })), 'ERR_ZEROPIPE_PROTOCOL', /./],

  'a frame over maxMessageSize': [open(frame(Buffer.alloc(100_001))), 'ERR_ZEROPIPE_MESSAGE_TOO_LARGE', /100000/],
  'frames that together exceed maxMessageSize': [open(job(Buffer.alloc(60_000), Buffer.alloc(60_000))), 'ERR_ZEROPIPE_MESSAGE_TOO_LARGE', /100000/],
  'a frame of 4 TiB': [open(header(2 ** 42)), 'ERR_ZEROPIPE_MESSAGE_TOO_LARGE', /100000/],
  'a frame of 2^64 - 1 bytes': [open(header(2n ** 64n - 1n)), 'ERR_ZEROPIPE_MESSAGE_TOO_LARGE', /100000/],
  'a second frame that makes the length overflow': [open(frame('x', { more: true }), header(2n ** 64n - 1n)), 'ERR_ZEROPIPE_MESSAGE_TOO_LARGE', /100000/],
  '1,025 frames': [open(job(...Array(1025).fill(''))), 'ERR_ZEROPIPE_MESSAGE_TOO_LARGE', /1024/],
  'frames without end': [open(...Array(20_000).fill(frame('', { more: true }))), 'ERR_ZEROPIPE_MESSAGE_TOO_LARGE', /1024/],
  'reserved flag bits': [open(frame('x', { flags: 8 })), 'ERR_ZEROPIPE_PROTOCOL', /reserved/],
  'a command of several frames': [open(frame('\x04PONG', { command: true, more: true })), 'ERR_ZEROPIPE_PROTOCOL', /command/],
  'a command of 4 TiB': [open(header(2 ** 42, 4)), 'ERR_ZEROPIPE_PROTOCOL', /4398046511104/],
  'a command that is cut off': [open(frame('\x09PING', { command: true })), 'ERR_ZEROPIPE_PROTOCOL', /cut off/],
  'a PING without a TTL': [open(command('PING', '\0')), 'ERR_ZEROPIPE_PROTOCOL', /./],
  'a PING with a context of 17 bytes': [open(ping(0, 'x'.repeat(17))), 'ERR_ZEROPIPE_PROTOCOL', /16 bytes/],
  'an ERROR later': [open(command('ERROR', '\x06no way')), 'ERR_ZEROPIPE_INCOMPATIBLE_PEER', /no way/]
}

function hello (...bytes) {
  return Buffer.concat([greeting(), ...bytes])
}

/** After a sound handshake as a PUSH. */
function open (...bytes) {
  return hello(ready('PUSH'), ...bytes)
}

for (const [name, [bytes, code, reason]] of Object.entries(strangers)) {
  test(`${name}: refused with ${code}, and others are served on`, { timeout }, async t => {
    const { pipe, address } = await puller(t, { maxMessageSize: 100_000 })
    const good = await dial(t, address)
    await good.handshake('PUSH')
    good.send(job('before'))
    assert.deepEqual(texts(await take(pipe, 1)), ['before'])

    const refused = happening(pipe, 'refused')
    const stranger = await dial(t, address)
    stranger.readOn()
    stranger.send(bytes)
    const event = await refused
    assert.equal(event.code, code)
    assert.equal(event.end, 'pull')
    assert.match(event.reason, reason)
    assert.match(event.address, /^tcp:\/\/127\.0\.0\.1:\d+$/)
    await stranger.closed

    good.send(job('after'))
    assert.deepEqual(texts(await take(pipe, 1)), ['after'])
    assert.equal(pipe.stats().pull.peers.length, 1)
  })
}

test('a PUSH that dials a push end: refused, and a PULL gets the job', { timeout }, async t => {
  const { pipe, address } = await pusher(t)
  await pipe.push('job')
  const refused = happening(pipe, 'refused')
  const stranger = await dial(t, address)
  stranger.readOn()
  stranger.send(hello(ready('PUSH')))
  const event = await refused
  assert.equal(event.code, 'ERR_ZEROPIPE_INCOMPATIBLE_PEER')
  assert.equal(event.end, 'push')
  assert.match(event.reason, /PUSH/)
  await stranger.closed

  const worker = await dial(t, address)
  await worker.handshake('PULL')
  assert.deepEqual(await worker.nextJob(), ['job'])
})

test('a PULL that sends a message: refused, and another gets the next job', { timeout }, async t => {
  const { pipe, address } = await pusher(t)
  const stranger = await dial(t, address)
  await stranger.handshake('PULL')
  const refused = happening(pipe, 'refused')
  stranger.readOn()
  stranger.send(job('I talk too'))
  const event = await refused
  assert.equal(event.code, 'ERR_ZEROPIPE_PROTOCOL')
  assert.equal(event.end, 'push')
  await stranger.closed

  await pipe.push('job')
  const worker = await dial(t, address)
  await worker.handshake('PULL')
  assert.deepEqual(await worker.nextJob(), ['job'])
})

test('a refused peer has joined and leaves only if it had shaken hands', { timeout }, async t => {
  const { pipe, address } = await puller(t)
  const seen = []
  for (const name of ['join', 'leave', 'refused']) pipe.on(name, () => seen.push(name))
  const early = await dial(t, address)
  early.send(Buffer.from('hello?'))
  early.readOn()
  await early.closed
  const left = happening(pipe, 'leave')
  const late = await dial(t, address)
  late.readOn()
  late.send(open(frame('x', { flags: 128 })))
  const { code } = await left
  assert.equal(code, 'ERR_ZEROPIPE_PROTOCOL')
  assert.deepEqual(seen, ['refused', 'join', 'refused', 'leave'])
})

for (const [name, end] of [['a violation', frame('x', { flags: 64 })], ['an ERROR', command('ERROR', '\x03bye')]]) {
  test(`jobs that came before ${name} are still delivered`, { timeout }, async t => {
    const { pipe, address } = await puller(t)
    const refused = happening(pipe, 'refused')
    const peer = await dial(t, address)
    peer.readOn()
    peer.send(open(job('one'), job('two'), end))
    await refused
    assert.deepEqual(texts(await take(pipe, 2)), ['one', 'two'])
  })
}

test('many strangers at once, silent or chatty, keep no peer out', { timeout }, async t => {
  const { pipe, address } = await puller(t)
  const strangers = await Promise.all(Array.from({ length: 200 }, () => dial(t, address)))
  strangers.forEach((stranger, index) => {
    if (index % 2 === 0) stranger.send(index % 4 === 0 ? greeting() : Buffer.from('?'))
  })
  const good = await dial(t, address)
  await good.handshake('PUSH')
  good.send(job('served'))
  assert.deepEqual(texts(await take(pipe, 1)), ['served'])
  assert.equal(pipe.stats().pull.peers.length, 1)
})

test('a handshake that dribbles in byte by byte is a handshake', { timeout }, async t => {
  const { pipe, address } = await puller(t)
  const peer = await dial(t, address)
  for (const byte of open(job('slow', 'but sound'))) await peer.flush(Buffer.from([byte]))
  for await (const frames of pipe.pull()) {
    assert.deepEqual(frames.map(String), ['slow', 'but sound'])
    break
  }
})
