import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pusher } from './helpers/ends.mjs'
import { open } from './helpers/open.mjs'
import { inprocPlace } from './helpers/place.mjs'
import { numbers, take, texts } from './helpers/take.mjs'
import { until } from './helpers/until.mjs'
import { loop, worker } from './helpers/worker.mjs'

const limit = { timeout: 30_000 }

/** The peer of that name, as its pusher sees it. */
const peer = (pipe, name) => pipe.stats().push.peers.find(({ identity }) => identity === name)

for (const place of ['tcp://127.0.0.1:*', inprocPlace()]) {
  const how = `(${place.slice(0, 3)})`

  test(`a worker with long jobs holds the one in hand and nothing else ${how}`, limit, async t => {
    const { pipe, address } = await pusher(t, {}, place)
    const slow = open(t, { pull: address, identity: 'slow' })
    const jobs = slow.pull()
    for (const number of numbers(100)) await pipe.push(number)
    for (let round = 0; round < 5; round++) {
      assert.deepEqual(texts([(await jobs.next()).value]), [String(round)])
      await until(() => {
        const { inFlight, credit } = peer(pipe, 'slow')
        return inFlight === 1 && credit === 0
      })
      assert.equal(pipe.stats().push.queued, 99 - round)
    }
    // All the rest is for whoever has time.
    assert.deepEqual(texts(await take(open(t, { pull: address }), 95)), numbers(100).slice(5))
    await until(() => pipe.stats().push.done === 99)
    assert.equal(peer(pipe, 'slow').inFlight, 1)
    await jobs.return()
    await pipe.drain()
    assert.equal(pipe.stats().push.redelivered, 0)
  })

  test(`the same toward several pushers: all of them together have given it one ${how}`, limit, async t => {
    const places = await Promise.all([1, 2, 3].map(() => pusher(t, {}, place.startsWith('inproc') ? inprocPlace() : place)))
    const pipes = places.map(({ pipe }) => pipe)
    const connect = places.map(({ address }) => address)
    const slow = open(t, { pull: { connect } })
    await slow.ready({ pushers: 3 })
    for (const [index, pipe] of pipes.entries()) for (const number of numbers(10)) await pipe.push(`${index}:${number}`)
    const jobs = slow.pull()
    const { value } = await jobs.next()
    const inFlight = () => pipes.reduce((sum, pipe) => sum + pipe.stats().push.inFlight, 0)
    await until(() => inFlight() === 1)
    const others = texts(await take(open(t, { pull: { connect } }), 29))
    assert.equal(new Set([value[0].toString(), ...others]).size, 30)
    await jobs.return()
    await Promise.all(pipes.map(pipe => pipe.drain()))
    assert.ok(pipes.every(pipe => pipe.stats().push.redelivered === 0))
  })

  test(`a pool of slow handlers holds as many as it runs ${how}`, limit, async t => {
    const { pipe, address } = await pusher(t, {}, place)
    const slow = open(t, { pull: address, identity: 'slow' })
    const ends = []
    const handling = slow.pull(() => new Promise(resolve => ends.push(resolve)), { concurrency: 4 })
    for (const number of numbers(100)) await pipe.push(number)
    await until(() => ends.length === 4 && peer(pipe, 'slow').inFlight === 4)
    assert.equal((await take(open(t, { pull: address }), 96)).length, 96)
    await until(() => pipe.stats().push.done === 96)
    assert.equal(pipe.stats().push.inFlight, 4)
    const closing = slow.close()
    ends.forEach(end => end())
    await Promise.all([closing, handling, pipe.drain()])
    assert.equal(pipe.stats().push.redelivered, 0)
  })

  test(`a worker that leaves by break holds nothing ${how}`, limit, async t => {
    const { pipe, address } = await pusher(t, {}, place)
    const fast = open(t, { pull: address, identity: 'fast' })
    for (const number of numbers(20_000)) await pipe.push(number)
    const first = await take(fast, 5_000)
    await until(() => peer(pipe, 'fast').inFlight === 0 && peer(pipe, 'fast').credit === 0)
    assert.deepEqual([pipe.stats().push.done, pipe.stats().push.queued], [5_000, 15_000])
    const rest = await take(open(t, { pull: address }), 15_000)
    await pipe.drain()
    assert.deepEqual(texts([...first, ...rest]), numbers(20_000))
    assert.equal(pipe.stats().push.redelivered, 0)
  })

  test(`a fast loop that meets one long job: what had come behind it goes to another worker ${how}`, limit, async t => {
    const { pipe, address } = await pusher(t, {}, place)
    const fast = open(t, { pull: address, identity: 'fast' })
    for (const number of numbers(20_000)) await pipe.push(number)
    const done = []
    let end
    const looping = (async () => {
      for await (const [message] of fast.pull()) {
        done.push(message.toString())
        if (done.length !== 10_000) continue
        await new Promise(resolve => { end = resolve })
        break
      }
    })()
    await until(() => done.length === 10_000)
    const rest = await take(open(t, { pull: address }), 10_000)
    await until(() => pipe.stats().push.done === 19_999)
    assert.deepEqual([...done, ...texts(rest)].map(Number).sort((a, b) => a - b).map(String), numbers(20_000))
    assert.equal(peer(pipe, 'fast').inFlight, 1)
    end()
    await looping
    await pipe.drain()
    assert.equal(pipe.stats().push.redelivered, 0)
  })

  test(`with prefetch: n a worker holds n and the one in hand ${how}`, limit, async t => {
    const { pipe, address } = await pusher(t, {}, place)
    const slow = open(t, { pull: address, identity: 'slow' })
    const jobs = slow.pull({ prefetch: 10 })
    for (const number of numbers(100)) await pipe.push(number)
    await jobs.next()
    await until(() => peer(pipe, 'slow').inFlight === 11)
    // The others can be had by another at once; those ten can't.
    assert.equal((await take(open(t, { pull: address }), 89)).length, 89)
    await until(() => pipe.stats().push.done === 89)
    assert.equal(peer(pipe, 'slow').inFlight, 11)
    const left = []
    for (let count = 0; count < 10; count++) left.push((await jobs.next()).value)
    assert.deepEqual(texts(left), numbers(11).slice(1))
    await jobs.return()
    await pipe.drain()
    assert.equal(pipe.stats().push.redelivered, 0)
  })

  test(`with prefetch: 0 a worker holds the one in hand only, however fast it is ${how}`, limit, async t => {
    const { pipe, address } = await pusher(t, {}, place)
    const slow = open(t, { pull: address })
    for (const number of numbers(200)) await pipe.push(number)
    let most = 0
    let count = 0
    for await (const _ of slow.pull({ prefetch: 0 })) {
      most = Math.max(most, pipe.stats().push.inFlight)
      if (++count === 200) break
    }
    await pipe.drain()
    assert.equal(most, 1)
  })

  test(`with batch: n a slow worker holds at most n ${how}`, limit, async t => {
    const { pipe, address } = await pusher(t, {}, place)
    const slow = open(t, { pull: address, identity: 'slow' })
    for (const number of numbers(100)) await pipe.push(number)
    const batches = slow.pull({ batch: 10 })
    const { value: batch } = await batches.next()
    assert.ok(batch.length >= 1 && batch.length <= 10)
    await until(() => peer(pipe, 'slow').inFlight === batch.length)
    const rest = await take(open(t, { pull: address }), 100 - batch.length)
    assert.deepEqual(texts([...batch, ...rest]), numbers(100))
    await until(() => pipe.stats().push.inFlight === batch.length)
    await batches.return()
    await pipe.drain()
  })
}

test('a worker whose long job blocks its JavaScript: nearly all that had come behind it goes to another worker meanwhile', limit, async t => {
  const { pipe, address } = await pusher(t)
  for (const number of numbers(100_000)) await pipe.push(number)
  const blocked = worker(t, address, `
    let count = 0
    for await (const [message] of pull()) {
      if (++count < 20_000) continue
      say('blocks')
      block(1e9)
    }
  `, { identity: 'blocked' })
  await blocked.heard('blocks')
  const other = open(t, { pull: address })
  const jobs = other.pull()
  // The one in hand, and at most what it does in 20 ms: that has crossed to it.
  let got = 0
  const looping = (async () => {
    for await (const _ of jobs) got++
  })()
  await until(() => {
    const { queued, inFlight } = pipe.stats().push
    return got >= 40_000 && queued === 0 && inFlight === 80_001 - got && peer(pipe, 'blocked').inFlight === inFlight
  })
  blocked.child.kill('SIGKILL')
  await pipe.drain()
  assert.equal(got, 80_001)
  await other.close()
  await looping
})

test('a worker process that takes 2 s a job gets no more than it can do, another does the rest', limit, async t => {
  const { pipe, address } = await pusher(t)
  for (const number of numbers(200)) await pipe.push(number)
  const slow = worker(t, address, loop("await order('go ' + text)"), { identity: 'slow' })
  await until(() => slow.begun.length === 1)
  const fast = worker(t, address, loop())
  await until(() => fast.finished.length === 199)
  assert.equal(peer(pipe, 'slow').inFlight, 1)
  slow.tell(`go ${slow.begun[0].text}`)
  await pipe.drain()
  await until(() => slow.finished.length === 1)
  assert.deepEqual([...slow.finished, ...fast.finished], numbers(200))
})
