// libzmq at the other end (by zeromq.js, in processes of their own), where it does what users run into.
import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { test } from 'node:test'
import { puller, pusher } from './helpers/ends.mjs'
import { happening } from './helpers/happening.mjs'
import { libzmq } from './helpers/libzmq.mjs'
import { open } from './helpers/open.mjs'
import { greeting, job, ready } from './helpers/raw-peer.mjs'
import { take, texts } from './helpers/take.mjs'
import { until } from './helpers/until.mjs'

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

/** The options of a libzmq peer with a mechanism other than NULL, as it connects and as it binds. */
const mechanisms = {
  CURVE: `(() => {
    const { publicKey, secretKey } = zmq.curveKeyPair()
    return { curvePublicKey: publicKey, curveSecretKey: secretKey, curveServerKey: zmq.curveKeyPair().publicKey }
  })()`,
  PLAIN: "{ plainUsername: 'me', plainPassword: 'secret' }"
}

for (const [mechanism, options] of Object.entries(mechanisms)) {
  test(`a libzmq peer with ${mechanism} is refused with the name of its mechanism, and one without is served`, { timeout }, async t => {
    const { pipe, address } = await puller(t)
    const refused = happening(pipe, 'refused')
    const wrong = libzmq(t, `const push = new zmq.Push(${options}); push.connect('${address}'); await push.send('secret')`)
    const { code, reason } = await refused
    assert.deepEqual([code, reason.includes(`"${mechanism}"`)], ['ERR_ZEROPIPE_INCOMPATIBLE_PEER', true], reason)
    libzmq(t, `const push = new zmq.Push(); push.connect('${address}'); await push.send('open')`)
    assert.deepEqual(texts(await take(pipe, 1)), ['open'])
    wrong.child.kill()
  })
}

test('a libzmq peer with CURVE that is dialled is refused with the name of its mechanism', { timeout }, async t => {
  const server = libzmq(t, `
    const push = new zmq.Push({ curveServer: true, curveSecretKey: zmq.curveKeyPair().secretKey })
    await push.bind('tcp://127.0.0.1:*')
    console.log('at ' + push.lastEndpoint + ';')
    await push.send('secret')
  `)
  let stdout = ''
  server.child.stdout.on('data', chunk => { stdout += chunk })
  await server.said(';')
  const pipe = open(t, { pull: { connect: /at (.*);/.exec(stdout)[1] } })
  const refused = []
  pipe.on('refused', event => refused.push(event))
  pipe.pull(() => {})
  await until(() => refused.length >= 3)
  for (const { code, reason } of refused) assert.deepEqual([code, /"CURVE"/.test(reason)], ['ERR_ZEROPIPE_INCOMPATIBLE_PEER', true], reason)
})

/** What comes of a peer of an older libzmq, or of JeroMQ 0.3, which says its version only once it has ours. */
test('a peer that sends its signature and waits for ours is answered, and refused with its version', { timeout }, async t => {
  const { pipe, address } = await puller(t)
  const refused = happening(pipe, 'refused')
  const { hostname, port } = new URL(address)
  const socket = connect(Number(port), hostname)
  t.after(() => socket.destroy())
  socket.write(Buffer.from('ff00000000000000017f', 'hex'))
  socket.once('data', bytes => {
    assert.ok(bytes.length >= 11 && bytes[10] === 3)
    socket.write(Buffer.from('0108', 'hex')) // revision 1, a PUSH
  })
  const { code, reason } = await refused
  assert.deepEqual([code, /version 2\.0/.test(reason)], ['ERR_ZEROPIPE_INCOMPATIBLE_PEER', true], reason)
})

test('a peer that waits for all of our greeting before it sends any of its own is served', { timeout }, async t => {
  const { pipe, address } = await puller(t)
  const { hostname, port } = new URL(address)
  const socket = connect(Number(port), hostname)
  t.after(() => socket.destroy())
  let received = 0
  socket.on('data', function look (bytes) {
    received += bytes.length
    if (received < 64) return
    socket.off('data', look).resume()
    socket.write(Buffer.concat([greeting(), ready('PUSH'), job('patient')]))
  })
  assert.deepEqual(texts(await take(pipe, 1)), ['patient'])
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
      setInterval(() => socket, 1000) // stays until it is killed, and its socket, which would be closed when it is collected
    `)
    await pipe.ready({ [peers]: 1 })
    await peer.said('over')
    assert.equal(pipe.stats()[side].peers.length, 1)
    assert.deepEqual(left, [])
    peer.child.kill('SIGKILL')
    assert.equal((await peer.ended).stdout, 'over\n')
  })
}
