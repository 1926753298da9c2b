// libzmq at the other end (by zeromq.js, in processes of their own), where it does what users run into.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { puller, pusher } from './helpers/ends.mjs'
import { happening } from './helpers/happening.mjs'
import { libzmq } from './helpers/libzmq.mjs'
import { take, texts } from './helpers/take.mjs'

const timeout = 30_000

test('a libzmq PUSH that dials a push end is refused, and a PULL is served', { timeout }, async t => {
  const { pipe, address } = await pusher(t)
  const refused = happening(pipe, 'refused')
  const wrong = libzmq(t, `const push = new zmq.Push(); push.connect('${address}'); await push.send('x')`)
  const event = await refused
  assert.deepEqual([event.code, event.end], ['ERR_ZEROPIPE_INCOMPATIBLE_PEER', 'push'])
  const right = libzmq(t, `const pull = new zmq.Pull(); pull.connect('${address}'); console.log(String(await pull.receive())); process.exit()`)
  await pipe.push('a job')
  assert.equal((await right.ended).stdout, 'a job\n')
  wrong.child.kill()
})

test('a libzmq peer with CURVE is refused, and one without is served', { timeout }, async t => {
  const { pipe, address } = await puller(t)
  const refused = happening(pipe, 'refused')
  const curve = libzmq(t, `
    const { publicKey, secretKey } = zmq.curveKeyPair()
    const push = new zmq.Push({ curvePublicKey: publicKey, curveSecretKey: secretKey, curveServerKey: zmq.curveKeyPair().publicKey })
    push.connect('${address}')
    await push.send('secret')
  `)
  const event = await refused
  // It reads our greeting, and may leave before it has sent all of its own.
  assert.match(event.code, /^ERR_ZEROPIPE_(INCOMPATIBLE_PEER|DISCONNECTED)$|^ECONNRESET$/)
  libzmq(t, `const push = new zmq.Push(); push.connect('${address}'); await push.send('open')`)
  assert.deepEqual(texts(await take(pipe, 1)), ['open'])
  curve.child.kill()
})

test('a libzmq PULL that is full and takes nothing outlives the heartbeats, and gets its jobs later', { timeout }, async t => {
  const { pipe, address } = await pusher(t, { heartbeat: { interval: 20, timeout: 300 } })
  const left = []
  pipe.on('leave', event => left.push(event))
  const stalled = libzmq(t, `
    const pull = new zmq.Pull({ receiveHighWaterMark: 1 })
    pull.connect('${address}')
    process.stdin.once('data', async () => {
      for (let i = 0; i < 200; i++) {
        const [number, body] = await pull.receive()
        if (String(number) !== String(i) || body.length !== 65536) process.exit(1)
      }
      console.log('all of them')
      process.exit()
    })
    console.log('full')
  `)
  await stalled.said('full')
  await pipe.ready({ pullers: 1 })
  for (let i = 0; i < 200; i++) await pipe.push([`${i}`, Buffer.alloc(65536)])
  await new Promise(resolve => setTimeout(resolve, 1500)) // many times the timeout
  assert.deepEqual(left, [])
  stalled.child.stdin.write('go\n')
  const { code, stdout } = await stalled.ended
  assert.deepEqual([code, stdout], [0, 'full\nall of them\n'])
})

for (const [type, makeEnd, side, peers] of [['PULL', pusher, 'push', 'pullers'], ['PUSH', puller, 'pull', 'pushers']]) {
  test(`an idle libzmq ${type} that sends heartbeats with a TTL stays, and is answered`, { timeout }, async t => {
    const { pipe, address } = await makeEnd(t, { heartbeat: { interval: 0 } })
    const left = []
    pipe.on('leave', event => left.push(event))
    const peer = libzmq(t, `
      const socket = new zmq.${type === 'PULL' ? 'Pull' : 'Push'}({ heartbeatInterval: 50, heartbeatTimeout: 1000, heartbeatTimeToLive: 1000 })
      socket.events.on('disconnect', () => console.log('dropped'))
      socket.connect('${address}')
      setTimeout(() => console.log('over'), 2500)
      setInterval(() => {}, 1000) // stays until it is killed
    `)
    await pipe.ready({ [peers]: 1 })
    await peer.said('over')
    assert.equal(pipe.stats()[side].peers.length, 1)
    assert.deepEqual(left, [])
    peer.child.kill('SIGKILL')
    assert.equal((await peer.ended).stdout, 'over\n')
  })
}
