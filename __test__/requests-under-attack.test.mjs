// Nothing that a worker or a requester does, or fails to do, harms others, or makes this process grow without bound.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { replier, requester } from './helpers/ends.mjs'
import { growsNoMore, growth } from './helpers/growth.mjs'
import { happening } from './helpers/happening.mjs'
import { program } from './helpers/program.mjs'
import { dialAsker, dialPlainAsker, dialPlainWorker, dialWorker, asText, reject } from './helpers/raw-requests.mjs'
import { job } from './helpers/raw-peer.mjs'
import { numbers } from './helpers/take.mjs'

const timeout = 60_000
const MiB = 2 ** 20

/** Answers until the pipe is closed. */
function serve (pipe, handler, options) {
  pipe.reply(handler, options).catch(() => {})
}

/** So many questions of one who asks, one after the other, and their answers. */
async function roundTrips (asker, count) {
  const before = asker.replies.length
  for (let done = 1; done <= count; done++) {
    asker.put('', 'small')
    await asker.get(before + done)
  }
}

for (const [kind, dialIt] of [['plain', dialPlainWorker], ['zeropipe', dialWorker]]) {
  for (const [what, size, count] of [['small', 10, 300_000], ['middle-sized', 10_000, 10_000], ['large', 5 * MiB, 20]]) {
    test(`a flood of ${what} replies that nobody asked for, from a ${kind} worker, fills no memory and keeps nobody waiting`, { timeout }, async t => {
      const { pipe, address } = await requester(t)
      const [bad, good] = [await dialIt(t, address), await dialWorker(t, address)]
      const chunk = Math.max(1, Math.min(count, Math.floor(MiB / size)))
      const replies = Buffer.concat(Array(chunk).fill(job(Buffer.alloc(12, 1), '', Buffer.alloc(size))))
      await bad.peer.flush(replies)
      await growsNoMore(50, async () => {
        for (let sent = 0; sent < count; sent += chunk) {
          await bad.peer.flush(replies)
          if (sent % (10 * chunk) !== 0) continue
          // Served meanwhile, by the other.
          const asked = good.requests.length
          const reply = pipe.request('x')
          good.credit(asked + 1)
          if (kind === 'plain') {
            await Promise.race([good.get(asked + 1), bad.get(bad.requests.length + 1)])
            for (const request of bad.requests.splice(0)) bad.reply(request, 'y')
          } else {
            await good.get(asked + 1)
          }
          for (const request of good.requests.slice(asked)) good.answer(request, 'y')
          assert.deepEqual(asText(await reply), ['y'])
        }
      })
      assert.equal(pipe.stats().request.peers.length, 2)
    })
  }
}

test('a thousand replies to one request are one reply', { timeout }, async t => {
  const { pipe, address } = await requester(t)
  const worker = await dialWorker(t, address)
  worker.credit(1000)
  for (let round = 1; round <= 20; round++) {
    const reply = pipe.request('x')
    const { tag, number } = (await worker.get(round))[round - 1]
    worker.send(...numbers(1000).map(text => job(tag, '', text)))
    worker.ack(number)
    assert.deepEqual(asText(await reply), ['0'])
  }
  await worker.ask()
  const { done, inFlight, queued } = pipe.stats().request
  assert.deepEqual({ done, inFlight, queued }, { done: 20, inFlight: 0, queued: 0 })
})

test('requests that are given up leave nothing behind, however many there are', { timeout }, async t => {
  const { pipe, address } = await requester(t)
  const worker = await dialPlainWorker(t, address)
  const giveUp = async () => {
    const ending = new AbortController()
    const replies = Array.from({ length: 1000 }, () => pipe.request(Buffer.alloc(1000), { signal: ending.signal }))
    const all = Promise.allSettled(replies)
    await worker.get(1000)
    worker.requests.length = worker.log.length = worker.names.length = 0
    ending.abort(new Error('enough'))
    await all
  }
  // 40 MB of requests a time.
  await growsNoMore(10, async () => {
    for (let round = 0; round < 40; round++) await giveUp()
  })
  const { queued, queuedBytes, inFlight } = pipe.stats().request
  assert.deepEqual({ queued, queuedBytes, inFlight }, { queued: 0, queuedBytes: 0, inFlight: 0 })
})

for (const [kind, dialIt] of [['plain', dialPlainAsker], ['zeropipe', dialAsker]]) {
  test(`a ${kind} requester that asks on and on and never reads is read no more, and others are served`, { timeout }, async t => {
    const { pipe, address } = await replier(t)
    const reply = Buffer.alloc(20_000)
    let handled = 0
    serve(pipe, ([text]) => {
      if (text.toString() === 'small') return 'small'
      handled++
      return reply
    })
    const bad = await dialIt(t, address)
    // One that knows flow may send no more than it was granted: it reads that, and then no more.
    if (kind === 'zeropipe') await bad.when(() => bad.left > 0)
    bad.peer.stall()
    const good = await dialPlainAsker(t, address)
    const staysWithin = await growth()
    if (kind === 'plain') bad.send(Buffer.concat(Array(200_000).fill(job('', 'x'))))
    else bad.put('', 'x')
    await roundTrips(good, 3000)
    // What was written, what both systems hold, and a little.
    assert.ok(handled * reply.length < 32 * MiB, `${handled} replies were made that nobody reads`)
    await staysWithin(100)
    assert.equal(pipe.stats().reply.peers.length, 2)
  })
}

test('one that reads again after a while gets all its replies, and is read on', { timeout }, async t => {
  const { pipe, address } = await replier(t)
  serve(pipe, ([text]) => [text, Buffer.alloc(100_000)])
  const asker = await dialPlainAsker(t, address)
  const other = await dialPlainAsker(t, address)
  asker.peer.stall()
  asker.send(...numbers(500).map(text => job(text, '', text)))
  await roundTrips(other, 500)
  asker.peer.readOn()
  asker.pump()
  await asker.ask(1).catch(() => {})
  await asker.get(500)
  assert.deepEqual(asker.replies.map(([tag]) => tag.toString()), numbers(500))
})

test('a requester that never reads holds up no close for longer than the farewell', { timeout }, async t => {
  const { pipe, address } = await replier(t)
  serve(pipe, () => Buffer.alloc(MiB))
  const bad = await dialPlainAsker(t, address)
  bad.peer.stall()
  bad.send(...Array(100).fill(job('', 'x')))
  const good = await dialPlainAsker(t, address)
  good.put('', 'x')
  await good.get(1)
  await pipe.close()
  await good.closed
  bad.peer.readOn()
  await bad.closed
})

test('a flood of messages that are no requests lets timers fire, and others be served', { timeout }, async t => {
  const { pipe, address } = await replier(t)
  const LAST = 5_000_000
  let refused = 0
  let isOver = false
  pipe.on('refused', () => {
    // It must end somewhere, even if nothing else runs.
    if (++refused === LAST) flood.child.kill('SIGKILL')
  })
  serve(pipe, ([text]) => text)
  const good = await dialPlainAsker(t, address)
  const first = happening(pipe, 'refused')
  const flood = program(t, `
    import net from 'node:net'
    import { greeting, job, ready } from ${JSON.stringify(new URL('./helpers/raw-peer.mjs', import.meta.url).href)}
    const { hostname, port } = new URL(${JSON.stringify(address)})
    const socket = net.connect({ host: hostname, port }).resume()
    socket.on('error', () => {})
    const many = Buffer.concat(Array(20_000).fill(job('x')))
    const go = () => { while (socket.write(many)); }
    socket.on('drain', go).write(Buffer.concat([greeting(), ready('DEALER')]))
    go()
  `)
  flood.ended.then(() => { isOver = true })
  await first
  await roundTrips(good, 3)
  for (let fired = 0; fired < 20; fired++) await new Promise(resolve => setTimeout(resolve, 1))
  assert.ok(!isOver && refused < LAST, `${refused} were refused before anything else ran`)
})

test('a flood of requests whose handler fails at once lets timers fire, and others be served', { timeout }, async t => {
  const { pipe, address } = await replier(t)
  pipe.on('dead', () => {})
  serve(pipe, ([text]) => {
    if (text.toString() === 'bad') throw new Error('no')
    return text
  })
  const [bad, good] = [await dialPlainAsker(t, address), await dialPlainAsker(t, address)]
  bad.send(Buffer.concat(Array(60_000).fill(job('', 'bad'))))
  await roundTrips(good, 20)
  for (let fired = 0; fired < 20; fired++) await new Promise(resolve => setTimeout(resolve, 1))
})

test('workers that reject everything at once are as many rejections', { timeout }, async t => {
  const { pipe, address } = await requester(t)
  const worker = await dialWorker(t, address)
  worker.credit(5000)
  const replies = numbers(5000).map(text => pipe.request(text))
  const all = Promise.allSettled(replies)
  await worker.get(5000)
  worker.send(...Array.from({ length: 5000 }, (_, i) => reject(5000 - i, 'E', String(4999 - i))))
  assert.deepEqual((await all).map(({ reason }) => reason.message), numbers(5000))
  await worker.ask()
  const { done, inFlight } = pipe.stats().request
  assert.deepEqual({ done, inFlight }, { done: 5000, inFlight: 0 })
})

test('workers that come, take requests and go, a hundred times, leave nothing behind', { timeout }, async t => {
  const { pipe, address } = await requester(t, { maxAttempts: 1000 })
  const replies = numbers(100).map(text => pipe.request(text))
  for (let round = 0; round < 100; round++) {
    const worker = await dialWorker(t, address)
    worker.credit(100)
    // From the third attempt on each travels alone.
    await worker.get(round < 2 ? 100 - round : 1)
    const left = happening(pipe, 'leave')
    worker.reply(worker.requests.at(-1), 'answered')
    worker.peer.end()
    await left
  }
  for (const reply of replies) assert.deepEqual(asText(await reply), ['answered'])
  const { done, dead, inFlight, inFlightBytes, queued, queuedBytes } = pipe.stats().request
  assert.deepEqual({ done, dead, inFlight, inFlightBytes, queued, queuedBytes }, { done: 100, dead: 0, inFlight: 0, inFlightBytes: 0, queued: 0, queuedBytes: 0 })
})
