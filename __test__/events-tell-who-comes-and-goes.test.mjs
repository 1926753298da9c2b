import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { test } from 'node:test'
import { pipe as makePipe } from '../index.js'
import { happening } from './helpers/happening.mjs'
import { open } from './helpers/open.mjs'
import { inprocPlace } from './helpers/place.mjs'
import { program } from './helpers/program.mjs'
import { dial, job, listen } from './helpers/raw-peer.mjs'
import { turns } from './helpers/settle.mjs'

const limit = { timeout: 10_000 }

test('listening tells the end and the address, once for each bind', limit, async t => {
  const place = inprocPlace()
  const pipe = open(t, { push: { bind: ['tcp://127.0.0.1:*', place] }, pull: { bind: 'tcp://127.0.0.1:*' } })
  const events = []
  pipe.on('listening', event => events.push(event))
  await pipe.ready()
  const { push, pull } = pipe.stats()
  assert.deepEqual(events.sort((a, b) => push.bound.indexOf(b.address) - push.bound.indexOf(a.address)), [
    { end: 'push', address: push.bound[1] },
    { end: 'push', address: push.bound[0] },
    { end: 'pull', address: pull.bound[0] }
  ])
})

test('join and leave tell both ends who came and went', limit, async t => {
  const pusher = open(t, { push: 'tcp://127.0.0.1:*', identity: 'boss' })
  await pusher.ready()
  const [address] = pusher.stats().push.bound
  const worker = makePipe({ pull: address, identity: 'worker' })
  const joins = [happening(pusher, 'join'), happening(worker, 'join')]
  await worker.ready()

  const [atPusher, atWorker] = await Promise.all(joins)
  assert.match(atPusher.address, /^tcp:\/\/127\.0\.0\.1:\d+$/)
  assert.deepEqual(atPusher, { end: 'push', address: atPusher.address, identity: 'worker', flow: true })
  assert.deepEqual(atWorker, { end: 'pull', address, identity: 'boss', flow: true })
  assert.equal(pusher.stats().push.peers[0].address, atPusher.address)

  const leaves = [happening(pusher, 'leave'), happening(worker, 'leave')]
  await worker.close()
  for (const [event, join] of [[await leaves[0], atPusher], [await leaves[1], atWorker]]) {
    const { code, reason, ...rest } = event
    assert.deepEqual(rest, join)
    assert.ok(typeof code === 'string' && code !== '')
    assert.ok(typeof reason === 'string' && reason !== '')
  }
  assert.deepEqual(pusher.stats().push.peers, [])
})

test('join and leave of a plain peer say that it has no flow', limit, async t => {
  const pipe = open(t, { push: 'tcp://127.0.0.1:*' })
  await pipe.ready()
  const joined = happening(pipe, 'join')
  const left = happening(pipe, 'leave')
  const peer = await dial(t, pipe.stats().push.bound[0])
  await peer.handshake('PULL', { properties: { Identity: 'plain' } })
  const { address, ...join } = await joined
  assert.match(address, /^tcp:\/\/127\.0\.0\.1:\d+$/)
  assert.deepEqual(join, { end: 'push', identity: 'plain', flow: false })
  peer.readOn()
  peer.end()
  const { code, reason, ...leave } = await left
  assert.deepEqual(leave, { address, ...join })
})

test('refused tells what was wrong with who came', limit, async t => {
  const pusher = open(t, { push: 'tcp://127.0.0.1:*' })
  await pusher.ready()
  const [address] = pusher.stats().push.bound
  const stranger = connect(Number(new URL(address).port), '127.0.0.1')
  t.after(() => stranger.destroy())
  stranger.on('error', () => {})
  const refused = happening(pusher, 'refused')
  stranger.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n' + ' '.repeat(100))

  const event = await refused
  assert.deepEqual(Object.keys(event).sort(), ['address', 'code', 'end', 'reason'])
  assert.equal(event.end, 'push')
  assert.equal(event.address, `tcp://127.0.0.1:${stranger.localPort}`)
  assert.equal(event.code, 'ERR_ZEROPIPE_NOT_ZMTP')
  assert.ok(event.reason.length > 0)
})

test('two pushers that meet refuse each other', limit, async t => {
  const pusher = open(t, { push: 'tcp://127.0.0.1:*' })
  await pusher.ready()
  const other = open(t, { push: { connect: pusher.stats().push.bound[0] } })
  const refusals = [happening(pusher, 'refused'), happening(other, 'refused')]
  await other.ready()
  assert.equal((await refusals[0]).code, 'ERR_ZEROPIPE_INCOMPATIBLE_PEER')
  assert.equal((await refusals[1]).end, 'push')
})

test('a job over the limit of the receiving end is refused with its sender', limit, async t => {
  const pusher = open(t, { push: 'tcp://127.0.0.1:*' })
  await pusher.ready()
  const worker = open(t, { pull: pusher.stats().push.bound[0], maxMessageSize: 100 })
  worker.pull().next() // until then it is sent nothing
  const refused = happening(worker, 'refused')
  await pusher.push(Buffer.alloc(101))
  const { end, code, address } = await refused
  assert.deepEqual({ end, code, address }, { end: 'pull', code: 'ERR_ZEROPIPE_MESSAGE_TOO_LARGE', address: pusher.stats().push.bound[0] })
})

test('a job over the limit that a plain pusher sends is refused with it, wanted or not', limit, async t => {
  const worker = open(t, { pull: { bind: 'tcp://127.0.0.1:*' }, maxMessageSize: 100 })
  await worker.ready()
  const refused = happening(worker, 'refused')
  const peer = await dial(t, worker.stats().pull.bound[0])
  await peer.handshake('PUSH')
  await worker.ready({ pushers: 1 })
  const [{ address: from }] = worker.stats().pull.peers
  peer.readOn()
  peer.send(job(Buffer.alloc(101)))
  const { end, code, address } = await refused
  assert.deepEqual({ end, code, address }, { end: 'pull', code: 'ERR_ZEROPIPE_MESSAGE_TOO_LARGE', address: from })
  await peer.closed
})

test('unreachable is told when a failure to dial begins, and again after a connection, not each time', limit, async t => {
  const listener = await listen(t)
  const { address } = listener
  await listener.close()
  const worker = open(t, { pull: address })
  const told = []
  for (const name of ['unreachable', 'join', 'leave', 'refused']) worker.on(name, event => told.push([name, event.code]))
  for (let life = 0; life < 2; life++) {
    const unreachable = happening(worker, 'unreachable')
    if (life === 0) await worker.ready()
    const { end, address: where, reason } = await unreachable
    assert.deepEqual([end, where], ['pull', address])
    assert.ok(reason.includes(address), reason)
    // Time for several dials.
    await new Promise(resolve => setTimeout(resolve, 500))
    const joined = happening(worker, 'join')
    const pusher = open(t, { push: address })
    await pusher.ready()
    await joined
    const left = happening(worker, 'leave')
    if (life === 0) await pusher.close()
    else await pusher.close().then(() => worker.close())
    await left
  }
  const names = told.map(([name]) => name)
  assert.deepEqual(names.slice(0, 6), ['unreachable', 'join', 'leave', 'unreachable', 'join', 'leave'])
  assert.ok(told.every(([name, code]) => name !== 'unreachable' || code === 'ECONNREFUSED'))
})

test('on, once and off can be chained, and do what they say', limit, async t => {
  const place = inprocPlace()
  const pusher = open(t, { push: place })
  const [always, onlyOnce, never] = [[], [], []]
  const forgotten = event => never.push(event)
  const chained = pusher
    .on('join', ({ identity }) => always.push(identity))
    .once('join', ({ identity }) => onlyOnce.push(identity))
    .on('join', forgotten)
    .off('join', forgotten)
  assert.equal(chained, pusher)
  await pusher.ready()
  for (const identity of ['a', 'b', 'c']) {
    const joined = happening(pusher, 'join', event => event.identity === identity)
    await open(t, { pull: place, identity }).ready()
    await joined
  }
  assert.deepEqual(always, ['a', 'b', 'c'])
  assert.deepEqual(onlyOnce, ['a'])
  assert.deepEqual(never, [])
})

test('listeners can be set before anything is open, and open nothing', limit, async t => {
  const pipe = open(t, { push: inprocPlace() })
  pipe.on('listening', () => assert.fail('opened'))
  await turns()
  assert.deepEqual(pipe.stats().push.bound, [])
  pipe.on('dead', () => {}).on('refused', () => {})
})

test('a listener that throws is an uncaught exception of the program, and the pipe goes on', limit, async t => {
  const { ended } = program(t, `
    import { pipe } from 'zeropipe'
    const errors = []
    process.on('uncaughtException', error => errors.push(error.message))
    const own = pipe('inproc://listener')
    for (const name of ['listening', 'join']) own.on(name, () => { throw new Error(name) })
    await own.ready({ pullers: 1, pushers: 1 })
    await own.push('job')
    for await (const [message] of own.pull()) {
      console.log(message.toString(), errors.sort().join(' '))
      break
    }
    await own.close()
  `)
  const { code, signal, stdout, stderr } = await ended
  assert.deepEqual({ code, signal }, { code: 0, signal: null }, stderr)
  assert.equal(stdout, 'job join join listening\n')
})
