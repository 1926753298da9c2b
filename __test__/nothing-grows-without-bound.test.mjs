// Nothing that a peer does, or fails to do, makes this process grow without bound.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { puller, pusher } from './helpers/ends.mjs'
import { growsNoMore, growth } from './helpers/growth.mjs'
import { happening } from './helpers/happening.mjs'
import { libzmq } from './helpers/libzmq.mjs'
import { open } from './helpers/open.mjs'
import { program } from './helpers/program.mjs'
import { dial, frame, greeting, header, job, ping, ready } from './helpers/raw-peer.mjs'
import { exposesCollector, tellsNoCollections } from './helpers/runtime.mjs'
import { standing } from './helpers/settle.mjs'

const timeout = 60_000
const MiB = 2 ** 20

test('a pusher without workers takes jobs up to its high-water mark, then waits', { timeout }, async t => {
  const { pipe } = await pusher(t, { highWaterMark: { bytes: 8 * MiB } })
  const staysWithin = await growth()
  const job = Buffer.alloc(MiB / 4)
  const pushes = Array.from({ length: 200 }, () => pipe.push(job))
  pushes.forEach(push => push.catch(() => {}))
  const states = await standing(...pushes)
  assert.equal(states.filter(state => state === 'fulfilled').length, 32)
  assert.equal(pipe.stats().push.queued, 32)
  await staysWithin(100)
})

test('connected to nobody, a pusher waits at the same mark as bound', { timeout }, async t => {
  for (const push of [{ bind: 'tcp://127.0.0.1:*' }, { connect: 'tcp://127.0.0.1:1' }]) {
    const pipe = open(t, { push, highWaterMark: { messages: 10 } })
    await pipe.ready()
    const pushes = Array.from({ length: 15 }, (_, i) => pipe.push(`${i}`))
    pushes.forEach(push => push.catch(() => {}))
    const states = await standing(...pushes)
    assert.deepEqual(states, [...Array(10).fill('fulfilled'), ...Array(5).fill('pending')])
  }
})

test('a pull end whose loop works on one job holds little of what a libzmq PUSH floods it with', { timeout }, async t => {
  const { pipe, address } = await puller(t)
  const loop = pipe.pull()
  const first = loop.next()
  const flood = libzmq(t, `
    const push = new zmq.Push({ sendHighWaterMark: 10 })
    push.connect(${JSON.stringify(address)})
    let sent = 0
    setInterval(() => { process.stdout.write('sent ' + sent + '\\n') }, 200)
    const job = Buffer.alloc(64 * 1024)
    for (; sent < 16_384; sent++) await push.send(job)
    console.log('all sent')
  `)
  await first
  const staysWithin = await growth()
  // Once its count stands still, everything between the two is full.
  let last
  for (let same = 0; same < 4;) {
    const count = await nextCount(flood.child)
    same = count === last ? same + 1 : 0
    last = count
  }
  assert.ok(last < 16_384, 'everything was sent, so somebody held a gibibyte')
  await staysWithin(100)
  assert.ok(pipe.stats().pull.received < 200)
  for (let i = 0; i < 1000; i++) await loop.next()
  await staysWithin(200)
  await loop.return()
})

function nextCount (child) {
  return new Promise(resolve => child.stdout.once('data', text => resolve(Number(/sent (\d+)/.exec(text)[1]))))
}

test('PINGs from a peer that never reads the answers fill no memory', { timeout }, async t => {
  for (const [type, makeEnd] of [['PULL', pusher], ['PUSH', puller]]) {
    const { pipe, address } = await makeEnd(t)
    const peer = await dial(t, address)
    await peer.handshake(type)
    peer.stall()
    const pings = Buffer.concat(Array(10_000).fill(ping(0, 'sixteen bytes ok')))
    // 50 MB a time.
    await growsNoMore(10, async () => {
      for (let i = 0; i < 200; i++) await peer.flush(pings)
    })
    const good = await dial(t, address)
    await good.handshake(type)
    await pipe.ready(type === 'PULL' ? { pullers: 1 } : { pushers: 1 })
  }
})

test('headers that announce more than the limit take no memory, from many peers at once', { timeout }, async t => {
  const { pipe, address } = await puller(t, { maxMessageSize: 2 ** 31 - 1 })
  const staysWithin = await growth()
  let refused = 0
  const all = new Promise(resolve => pipe.on('refused', () => { if (++refused === 50) resolve() }))
  for (let i = 0; i < 50; i++) {
    const peer = await dial(t, address)
    peer.readOn()
    peer.send(greeting(), ready('PUSH'), header(2 ** 31))
  }
  await all
  await staysWithin(50)
})

test('a frame within the limit takes memory as its bytes come, not when it is announced', { timeout }, async t => {
  const { pipe, address } = await puller(t, { maxMessageSize: 2 ** 31 - 1 })
  const staysWithin = await growth()
  for (let i = 0; i < 20; i++) {
    const peer = await dial(t, address)
    await peer.handshake('PUSH')
    await peer.flush(header(2 ** 31 - 1), Buffer.alloc(100))
  }
  await pipe.ready({ pushers: 20 })
  await staysWithin(100)
})

test('endless commands fill no memory', { timeout }, async t => {
  const { pipe, address } = await puller(t)
  const peer = await dial(t, address)
  await peer.handshake('PUSH')
  const bytes = Buffer.concat(Array(20).fill(frame(Buffer.concat([Buffer.from('\x03BIG'), Buffer.alloc(50_000)]), { command: true })))
  // 50 MB a time.
  await growsNoMore(10, async () => {
    for (let i = 0; i < 50; i++) await peer.flush(bytes)
  })
  peer.send(job('still here'))
  const loop = pipe.pull()
  assert.equal((await loop.next()).value[0].toString(), 'still here')
  await loop.return()
})

test('more strangers than fit push out the oldest of them, never a peer', { timeout }, async t => {
  const { pipe, address } = await puller(t)
  const good = await dial(t, address)
  await good.handshake('PUSH')
  await pipe.ready({ pushers: 1 })
  const oldest = await dial(t, address)
  oldest.readOn()
  const told = happening(pipe, 'join', event => event.identity === 'last')
  for (let i = 0; i < 1100; i++) await dial(t, address)
  await oldest.closed
  const last = await dial(t, address)
  await last.handshake('PUSH', { properties: { Identity: 'last' } })
  await told
  assert.equal(pipe.stats().pull.peers.length, 2)
})

for (const [kind, flow] of [['zeropipe', 'on'], ['plain', 'off']]) {
  test(`many ${kind} pushers with a large job each are read one after the other, and nothing of it is lost`, { timeout }, async t => {
    const size = 16 * MiB
    const count = 12
    const { pipe, address } = await puller(t, { maxMessageSize: size })
    const loop = pipe.pull()
    const first = loop.next()
    // In a process of their own, so that what grows here is ours.
    const { ended, said } = program(t, `
      import { pipe } from 'zeropipe'
      const size = ${size}
      const pushers = Array.from({ length: ${count} }, () => pipe({ push: { connect: ${JSON.stringify(address)} } }))
      await Promise.all(pushers.map(pusher => pusher.ready({ pullers: 1 })))
      // Half of them as one frame, half of them as two.
      const half = Buffer.alloc(size / 2 - 64)
      await Promise.all(pushers.map((pusher, i) => pusher.push(i % 2 === 0 ? Buffer.alloc(size) : [half, half])))
      console.log('pushed')
      await Promise.all(pushers.map(pusher => pusher.drain()))
    `, { env: { ZEROPIPE_FLOW: flow } })
    await pipe.ready({ pushers: count })
    const staysWithin = await growth()
    await said('pushed')
    await first
    assert.ok(pipe.stats().pull.peers.every(peer => peer.flow === (flow === 'on')))
    // There may be what is in hand, what is ready, and what the limit lets in.
    await staysWithin(6 * 16 + 64)
    assert.ok(pipe.stats().pull.received < count, 'not all are read ahead')
    for (let left = count - 1; left > 0; left--) {
      const { value } = await loop.next()
      assert.ok([size, size - 128].includes(value.reduce((bytes, frame) => bytes + frame.length, 0)))
    }
    await loop.return()
    const { code, stderr } = await ended
    assert.deepEqual({ code, stderr }, { code: 0, stderr: '' })
  })
}

for (const [when, isClosed] of [
  ['once it is empty', false],
  ['of a pipe that is closed as soon as it is empty', true]
]) {
  test(`memory that a full queue took goes back to the system ${when}`, { timeout }, async t => {
    const { ended } = program(t, `
      import { setTimeout } from 'node:timers/promises'
      import { pipe } from 'zeropipe'

      const count = 400_000
      const pusher = pipe({ push: { bind: 'tcp://127.0.0.1:*' }, highWaterMark: { messages: 2 * count, bytes: 2 ** 30 } })
      await pusher.ready()
      const job = Buffer.alloc(100)
      await pusher.push(job)
      const grown = (before => () => (process.memoryUsage().rss - before) / 2 ** 20)(process.memoryUsage().rss)
      for (let left = count; left > 1; left--) await pusher.push(job)
      const full = grown()
      const puller = pipe({ pull: { connect: pusher.stats().push.bound[0] } })
      let left = count
      for await (const batch of puller.pull({ batch: 1000 })) if ((left -= batch.length) === 0) break
      await pusher.drain()
      if (${isClosed}) await Promise.all([pusher.close(), puller.close()])
      // What JavaScript has let go of is its own garbage collector's.
      for (let least = full; least > 30;) {
        globalThis.gc?.()
        await setTimeout(50)
        least = grown()
      }
      console.log(full > 40 ? 'full, then empty' : 'only ' + full)
      await Promise.all([pusher.close(), puller.close()])
    `, { execArgv: exposesCollector })
    assert.deepEqual(await ended, { code: 0, signal: null, stdout: 'full, then empty\n', stderr: '' })
  })
}

test('buffers of large jobs are freed with the young objects: they force hardly any collection of all garbage', { timeout, skip: tellsNoCollections }, async t => {
  const { ended } = program(t, `
    import { PerformanceObserver, constants } from 'node:perf_hooks'
    import { setTimeout } from 'node:timers/promises'
    import { pipe } from 'zeropipe'

    let full = 0
    const count = entries => { full += entries.filter(({ detail }) => detail.kind === constants.NODE_PERFORMANCE_GC_MAJOR).length }
    const observer = new PerformanceObserver(list => count(list.getEntries()))
    observer.observe({ entryTypes: ['gc'] })
    const pusher = pipe({ push: { bind: 'tcp://127.0.0.1:*' } })
    await pusher.ready()
    const puller = pipe({ pull: { connect: pusher.stats().push.bound[0] } })
    // 512 MiB: without more ado V8 collects all garbage every 64 MB.
    const [job, jobs] = [Buffer.alloc(65536), 8192]
    const pushing = (async () => { for (let left = jobs; left > 0; left--) await pusher.push(job) })()
    let left = jobs
    for await (const _ of puller.pull()) if (--left === 0) break
    await pushing
    await setTimeout(100) // the observer is told later
    count(observer.takeRecords())
    console.log(full <= 4 ? 'hardly any' : full)
    await Promise.all([pusher.close(), puller.close()])
  `)
  assert.deepEqual(await ended, { code: 0, signal: null, stdout: 'hardly any\n', stderr: '' })
})
