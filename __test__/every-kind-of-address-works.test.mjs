// Where ends can bind and connect, and what each kind of address means.
import assert from 'node:assert/strict'
import { lookup } from 'node:dns/promises'
import { once } from 'node:events'
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { Worker } from 'node:worker_threads'
import { open } from './helpers/open.mjs'
import { abstractPlace, inprocPlace, ipcPlace } from './helpers/place.mjs'
import { program } from './helpers/program.mjs'
import { listen } from './helpers/raw-peer.mjs'
import { take, texts } from './helpers/take.mjs'

const timeout = 30_000

/** An address of each kind; `*` and `0` ask for a port. */
const places = {
  IPv4: () => 'tcp://127.0.0.1:*',
  'port 0': () => 'tcp://127.0.0.1:0',
  IPv6: () => 'tcp://[::1]:*',
  'a name': () => 'tcp://localhost:*',
  'every IPv4 address': () => 'tcp://0.0.0.0:*',
  'every IPv6 address': () => 'tcp://[::]:*',
  'every address': () => 'tcp://*:*',
  'an ipc path': ipcPlace,
  'an abstract ipc name': abstractPlace,
  inproc: inprocPlace
}

for (const [name, place] of Object.entries(places)) {
  test(`jobs pass over ${name}, whichever end binds`, { timeout }, async t => {
    for (const [binder, dialler] of [['push', 'pull'], ['pull', 'push']]) {
      const bound = open(t, { [binder]: { bind: place() } })
      await bound.ready()
      const [address] = bound.stats()[binder].bound
      assert.doesNotMatch(address, /:(0|\*)$/)
      const other = open(t, { [dialler]: { connect: address } })
      const [from, to] = binder === 'push' ? [bound, other] : [other, bound]
      await from.push(['over', name])
      assert.deepEqual((await take(to, 1))[0].map(String), ['over', name])
      assert.deepEqual(bound.stats()[binder].bound, [address])
      assert.equal(other.stats()[dialler].bound.length, 0)
      await Promise.all([from.close(), to.close()])
    }
  })
}

test('what listens is told by an event, with its real port', { timeout }, async t => {
  const pipe = open(t, { push: { bind: ['tcp://127.0.0.1:*', 'tcp://[::1]:0'] } })
  const told = []
  pipe.on('listening', event => told.push(event))
  await pipe.ready()
  const { bound } = pipe.stats().push
  assert.equal(bound.length, 2)
  assert.match(bound[0], /^tcp:\/\/127\.0\.0\.1:[1-9]\d+$/)
  assert.match(bound[1], /^tcp:\/\/\[::1\]:[1-9]\d+$/)
  assert.deepEqual(told, bound.map(address => ({ end: 'push', address })))
})

test('a wildcard host is reached by every family of the loopback, and by its own address', { timeout }, async t => {
  const pusher = open(t, { push: 'tcp://*:*' })
  await pusher.ready()
  const [address] = pusher.stats().push.bound
  const port = address.split(':').pop()
  for (const dialled of [address, `tcp://*:${port}`, `tcp://127.0.0.1:${port}`, `tcp://[::1]:${port}`, `tcp://localhost:${port}`]) {
    const worker = open(t, { pull: dialled })
    await pusher.push(dialled)
    assert.deepEqual(texts(await take(worker, 1)), [dialled])
    await worker.close()
  }
})

test('every address of a name is dialled: whichever of them is listened on is found', { timeout }, async t => {
  const found = await lookup('localhost', { all: true })
  assert.ok(found.length > 0)
  for (const { address, family } of found) {
    const pusher = open(t, { push: { bind: `tcp://${family === 6 ? `[${address}]` : address}:*` } })
    await pusher.ready()
    const worker = open(t, { pull: `tcp://localhost:${pusher.stats().push.bound[0].split(':').pop()}` })
    await pusher.push(address)
    assert.deepEqual(texts(await take(worker, 1)), [address])
  }
})

test('an address that is in use is EADDRINUSE with the cure, for every kind', { timeout }, async t => {
  for (const place of [() => 'tcp://127.0.0.1:*', () => 'tcp://[::1]:*', () => 'tcp://*:*', ipcPlace, abstractPlace, inprocPlace]) {
    const first = open(t, { push: { bind: place() } })
    await first.ready()
    const [address] = first.stats().push.bound
    const second = open(t, { push: { bind: address } })
    await assert.rejects(second.push('job'), error => {
      assert.equal(error.code, 'EADDRINUSE')
      assert.ok(error.message.includes(address), error.message)
      assert.match(error.message, /pipe\(\{ push: \{ connect \}, pull: \{ bind \} \}\)/)
      return true
    })
    assert.equal(second.stats().push.queued, 0)
    // The first is not disturbed, and the second gets its turn.
    const worker = open(t, { pull: address })
    await first.push('first')
    assert.deepEqual(texts(await take(worker, 1)), ['first'])
    await first.close()
    await second.push('second')
    assert.deepEqual(texts(await take(worker, 1)), ['second'])
  }
})

test('the file of an ipc socket goes with the close', { timeout }, async t => {
  const address = ipcPlace()
  const path = address.slice('ipc://'.length)
  for (const end of ['push', 'pull']) {
    const pipe = open(t, { [end]: { bind: address } })
    await pipe.ready()
    assert.ok(existsSync(path))
    await pipe.close()
    assert.ok(!existsSync(path))
  }
})

test('the file of an ipc socket whose owner was killed is replaced', { timeout }, async t => {
  const address = ipcPlace()
  const path = address.slice('ipc://'.length)
  const owner = program(t, `
    import { pipe } from 'zeropipe'
    const own = pipe({ push: { bind: ${JSON.stringify(address)} } })
    await own.ready()
    console.log('listens')
    setInterval(() => {}, 1000)
  `)
  await owner.said('listens')
  owner.child.kill('SIGKILL')
  assert.equal((await owner.ended).signal, 'SIGKILL')
  assert.ok(existsSync(path))
  const pusher = open(t, { push: { bind: address } })
  await pusher.push('new owner')
  const worker = open(t, { pull: address })
  assert.deepEqual(texts(await take(worker, 1)), ['new owner'])
})

test('a live ipc socket of any program is not stolen, nor is a plain file removed', { timeout }, async t => {
  const address = ipcPlace()
  const foreign = await listen(t, address)
  const pipe = open(t, { push: { bind: address } })
  await assert.rejects(pipe.ready(), { code: 'EADDRINUSE' })
  await foreign.close()
  const path = ipcPlace().slice('ipc://'.length)
  writeFileSync(path, 'precious')
  t.after(() => rmSync(path, { force: true }))
  await assert.rejects(open(t, { push: { bind: `ipc://${path}` } }).ready(), { code: 'EADDRINUSE' })
  assert.equal(readFileSync(path, 'utf8'), 'precious')
})

test('an ipc path in a directory that is not there says so', { timeout }, async t => {
  const address = 'ipc:///no/such/directory/socket'
  await assert.rejects(open(t, { push: { bind: address } }).push('job'), error => error.code === 'ENOENT' && error.message.includes(address))
})

test('an address that this machine does not have says so', { timeout }, async t => {
  const address = 'tcp://192.0.2.1:5555'
  await assert.rejects(open(t, { push: { bind: address } }).push('job'), error => error.code === 'EADDRNOTAVAIL' && error.message.includes(address))
})

test('inproc connects before it is bound, and again after each new bind', { timeout }, async t => {
  const address = inprocPlace()
  const worker = open(t, { pull: address })
  const loop = worker.pull()
  let next = loop.next()
  for (let life = 0; life < 3; life++) {
    const pusher = open(t, { push: { bind: address } })
    await pusher.push(`life ${life}`)
    assert.equal((await next).value[0].toString(), `life ${life}`)
    next = loop.next() // and so done with the last one, for which the close waits
    await pusher.close()
  }
  await loop.return()
})

test('inproc reaches across worker threads', { timeout }, async t => {
  const address = inprocPlace()
  const pusher = open(t, { push: { bind: address } })
  const thread = new Worker(`
    const { workerData, parentPort } = require('node:worker_threads')
    const { pipe } = require(workerData.index)
    const worker = pipe({ pull: workerData.address })
    ;(async () => {
      for await (const [frame] of worker.pull()) {
        parentPort.postMessage(frame.toString())
        break
      }
      await worker.close()
    })()
  `, { eval: true, workerData: { address, index: new URL('../index.js', import.meta.url).pathname } })
  t.after(() => thread.terminate())
  const [[said]] = await Promise.all([once(thread, 'message'), pusher.push('across')])
  assert.equal(said, 'across')
})

for (const [binder, dialler] of [['push', 'pull'], ['pull', 'push']]) {
  test(`one ${binder} end listens at many endpoints, one ${dialler} end dials many`, { timeout }, async t => {
    const listens = () => ['tcp://127.0.0.1:*', 'tcp://[::1]:*', ipcPlace(), abstractPlace(), inprocPlace()]
    const hubs = [open(t, { [binder]: { bind: listens() } }), open(t, { [binder]: { bind: listens() } })]
    for (const hub of hubs) await hub.ready()
    const bound = hubs.flatMap(hub => hub.stats()[binder].bound)
    assert.equal(bound.length, 10)
    const one = open(t, { [dialler]: { connect: bound } })
    await one.ready({ [binder === 'push' ? 'pushers' : 'pullers']: 10 })
    for (const hub of hubs) await hub.ready({ [binder === 'push' ? 'pullers' : 'pushers']: 5 })
    for (const hub of hubs) assert.equal(hub.stats()[binder].peers.length, 5)
    assert.deepEqual(new Set(one.stats()[dialler].peers.map(peer => peer.address)), new Set(bound))
    if (binder === 'push') {
      for (const hub of hubs) for (let i = 0; i < 10; i++) await hub.push('job')
      assert.equal((await take(one, 20)).length, 20)
    } else {
      for (let i = 0; i < 20; i++) await one.push('job')
      for (const hub of hubs) assert.equal((await take(hub, 10)).length, 10)
    }
  })
}

test('one end both binds and connects', { timeout }, async t => {
  const hub = open(t, { pull: { bind: 'tcp://127.0.0.1:*' } })
  await hub.ready()
  const both = open(t, { push: { bind: ipcPlace(), connect: hub.stats().pull.bound[0] } })
  await both.ready()
  const dialler = open(t, { pull: both.stats().push.bound[0] })
  const got = [take(hub, 5), take(dialler, 5)]
  await both.ready({ pullers: 2 })
  for (let i = 0; i < 10; i++) await both.push('job')
  for (const jobs of await Promise.all(got)) assert.equal(jobs.length, 5)
})
