// Whatever ends a connection or keeps it from beginning, it is dialled again, for ever.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { happening } from './helpers/happening.mjs'
import { open } from './helpers/open.mjs'
import { ipcPlace } from './helpers/place.mjs'
import { frame, greeting, job, listen, ready } from './helpers/raw-peer.mjs'
import { take, texts } from './helpers/take.mjs'

const timeout = 30_000

/** An address on which nobody listens. */
async function unused (t) {
  const listener = await listen(t)
  await listener.close()
  return listener.address
}

test('a worker may come before its pusher', { timeout }, async t => {
  const address = await unused(t)
  const worker = open(t, { pull: address })
  const got = take(worker, 1)
  await worker.ready()
  const pusher = open(t, { push: { bind: address } })
  await pusher.push('at last')
  assert.deepEqual(texts(await got), ['at last'])
})

for (const [transport, place] of [['tcp', unused], ['ipc', ipcPlace]]) {
  test(`a pusher over ${transport} that starts again and again at its address finds its worker each time`, { timeout }, async t => {
    const address = await place(t)
    const worker = open(t, { pull: address })
    const loop = worker.pull()
    let next = loop.next()
    for (let life = 0; life < 15; life++) {
      const pusher = open(t, { push: { bind: address } })
      await pusher.push(`life ${life}`)
      assert.equal((await next).value[0].toString(), `life ${life}`)
      next = loop.next() // and so done with the last one, for which the close waits
      await pusher.close()
    }
    await loop.return()
  })
}

/** What a listener does to a connection instead of shaking hands, and whether a pull end that dials it is told `refused`. */
const insults = {
  'closes at once': [peer => peer.destroy(), null],
  'ends at once': [peer => { peer.readOn(); peer.end() }, null],
  'resets at once': [peer => peer.reset(), null],
  'speaks garbage': [peer => { peer.readOn(); peer.send(Buffer.from('220 mail.example ESMTP\r\n')) }, 'ERR_ZEROPIPE_NOT_ZMTP'],
  'is of the wrong type': [peer => { peer.readOn(); peer.send(greeting(), ready('PULL')) }, 'ERR_ZEROPIPE_INCOMPATIBLE_PEER'],
  'wants another mechanism': [peer => { peer.readOn(); peer.send(greeting({ mechanism: 'CURVE' })) }, 'ERR_ZEROPIPE_INCOMPATIBLE_PEER'],
  'breaks the protocol later': [peer => { peer.readOn(); peer.send(greeting(), ready('PUSH'), frame('x', { flags: 16 })) }, 'ERR_ZEROPIPE_PROTOCOL'],
  'shakes hands and leaves': [async peer => { await peer.handshake('PUSH'); peer.destroy() }, null],
  'leaves in the middle of READY': [peer => { peer.readOn(); peer.send(greeting(), ready('PUSH').subarray(0, 10)); peer.end() }, null]
}

for (const [name, [insult, code]] of Object.entries(insults)) {
  test(`a listener that ${name} is dialled again until it behaves`, { timeout }, async t => {
    const listener = await listen(t)
    const worker = open(t, { pull: { connect: listener.address } })
    const told = code === null ? null : happening(worker, 'refused')
    const got = take(worker, 1)
    for (let i = 0; i < 3; i++) await insult(await listener.next())
    const peer = await listener.next()
    await peer.handshake('PUSH')
    peer.send(job('patience'))
    assert.deepEqual(texts(await got), ['patience'])
    if (code !== null) {
      const event = await told
      assert.deepEqual([event.code, event.end, event.address], [code, 'pull', listener.address])
    }
  })
}

test('dials that fail come more and more seldom', { timeout }, async t => {
  const listener = await listen(t)
  open(t, { pull: { connect: listener.address } }).ready()
  const times = []
  for (let i = 0; i < 6; i++) {
    const peer = await listener.next()
    times.push(performance.now())
    peer.readOn()
    peer.send(Buffer.from('no'))
  }
  // Pauses of at least 25, 50, 100, 200 and 400 ms, whatever the machine does.
  assert.ok(times[5] - times[0] >= 775 * 0.9, `${times}`)
})

test('a worker that dials many addresses keeps trying those that are down', { timeout }, async t => {
  const places = [await unused(t), await unused(t), await unused(t)]
  const worker = open(t, { pull: { connect: places } })
  const loop = worker.pull()
  for (const address of places.reverse()) {
    const pusher = open(t, { push: { bind: address } })
    await pusher.push(address)
    assert.equal((await loop.next()).value[0].toString(), address)
  }
  await loop.return()
})

test('a dial to a dead port never meets itself', { timeout }, async t => {
  // Twenty dialers of a port that is as likely to be chosen for the dialling side as any other.
  const address = await unused(t)
  const joined = []
  const pipes = Array.from({ length: 20 }, () => open(t, { pull: { connect: address } }))
  for (const pipe of pipes) {
    pipe.on('join', event => joined.push(event))
    pipe.on('refused', event => joined.push(event))
    await pipe.ready()
  }
  const pusher = open(t, { push: { bind: address } })
  await pusher.ready({ pullers: 20 })
  assert.equal(new Set(pusher.stats().push.peers.map(peer => peer.address)).size, 20)
  assert.ok(joined.every(event => event.address === address && event.code === undefined))
})
