// The puller's side of flow (docs/flow.md, "The puller"): what it grants, and the one word that it owes for every job.
import assert from 'node:assert/strict'
import { existsSync, rmSync, writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { puller } from './helpers/ends.mjs'
import { FlowPush, dialPush, mark, newInstance, offer } from './helpers/flow.mjs'
import { happening } from './helpers/happening.mjs'
import { ipcPlace } from './helpers/place.mjs'
import { program } from './helpers/program.mjs'
import { job, listen } from './helpers/raw-peer.mjs'
import { standing, turns } from './helpers/settle.mjs'
import { numbers, take, texts } from './helpers/take.mjs'

const timeout = 10_000

/** A promise with what settles it. */
function deferred () {
  const parts = {}
  parts.promise = new Promise((resolve, reject) => Object.assign(parts, { resolve, reject }))
  return parts
}

/** Resolves when a puller has waited so long that it gives unstarted jobs back, as another one does meanwhile. */
async function longEnoughToStall (t) {
  const { pipe, address } = await puller(t)
  const clock = await dialPush(t, address)
  const loop = await fast(pipe, clock)
  await stall(loop, clock, 5)
}

/** A loop that has shown how fast it is, so that it is granted many jobs ahead; it waits for the next. */
async function fast (pipe, peer, options) {
  const loop = pipe.pull(options)
  for (let done = 0; peer.left < 20; done++) {
    const next = loop.next()
    await peer.pushWhenGranted('fast')
    assert.equal((await next).done, false)
    if (done > 5000) throw new Error(`granted ${peer.left} ahead after ${done} jobs`)
  }
  return loop
}

/** Gives a fast loop a job on which it stays, and so many more. Resolves when those have come back: their numbers. */
async function stall (loop, peer, more) {
  const next = loop.next()
  await peer.when(() => peer.left > more)
  const before = peer.sent
  peer.push('stays', ...numbers(more))
  await next
  await peer.when(() => peer.returned.length === more)
  return peer.returned.map(number => number - before)
}

const lastCredit = peer => peer.credits.at(-1)?.jobs

test('without a consumer no CREDIT is given', { timeout }, async t => {
  const { pipe, address } = await puller(t)
  const peer = await dialPush(t, address)
  await peer.ask(20)
  assert.deepEqual(peer.log, [])
  // A loop that nobody has asked for a job is none yet.
  pipe.pull()
  await peer.ask(20)
  assert.deepEqual(peer.log, [])
})

test('the first CREDIT follows when a loop waits, and is for one job', { timeout }, async t => {
  const { pipe, address } = await puller(t)
  const peer = await dialPush(t, address)
  await peer.ask()
  const next = pipe.pull().next()
  await peer.when(() => peer.credits.length > 0)
  assert.equal(peer.credits[0].jobs, 1)
  assert.ok(peer.credits[0].bytes >= 16 << 20)
  assert.deepEqual(await standing(next), ['pending'])
})

test('a pusher that comes while a loop waits is given CREDIT at once', { timeout }, async t => {
  const { pipe, address } = await puller(t)
  const next = pipe.pull().next()
  const peer = await dialPush(t, address)
  await peer.pushWhenGranted('job')
  assert.equal((await next).value[0].toString(), 'job')
  assert.equal(peer.credits[0].jobs, 1)
})

for (const [what, consume, granted] of [
  ['a loop of batches of 7', pipe => { pipe.pull({ batch: 7 }).next() }, 7],
  ['three loops', pipe => { for (let i = 0; i < 3; i++) pipe.pull().next() }, 3],
  ['one loop that was asked for three jobs', pipe => { const loop = pipe.pull(); for (let i = 0; i < 3; i++) loop.next() }, 3],
  ['four handlers', pipe => { pipe.pull(() => {}, { concurrency: 4 }) }, 4],
  ['a prefetch of 5', pipe => { pipe.pull({ prefetch: 5 }).next() }, 5],
  ['a prefetch of 0', pipe => { pipe.pull({ prefetch: 0 }).next() }, 1],
  ['a prefetch of 5 for batches of 9', pipe => { pipe.pull({ prefetch: 5, batch: 9 }).next() }, 9],
  ['a prefetch of 9 for batches of 5', pipe => { pipe.pull({ prefetch: 9, batch: 5 }).next() }, 9],
  ['a prefetch of 3 for eight handlers', pipe => { pipe.pull(() => {}, { prefetch: 3, concurrency: 8 }) }, 8],
  ['a loop and four handlers', pipe => { pipe.pull().next(); pipe.pull(() => {}, { concurrency: 4 }) }, 5]
]) {
  test(`${what}: ${granted} granted`, { timeout }, async t => {
    const { pipe, address } = await puller(t)
    const peer = await dialPush(t, address)
    consume(pipe)
    await peer.when(() => lastCredit(peer) === granted)
    await peer.ask(20)
    assert.equal(lastCredit(peer), granted)
  })
}

test('free slots are offered to every pusher', { timeout }, async t => {
  const { pipe, address } = await puller(t)
  const peers = [await dialPush(t, address), await dialPush(t, address), await dialPush(t, address)]
  pipe.pull({ batch: 4 }).next()
  for (const peer of peers) await peer.when(() => lastCredit(peer) === 4)
})

test('a job is acknowledged when the next is asked for, and not before', { timeout }, async t => {
  const { pipe, address } = await puller(t)
  const peer = await dialPush(t, address)
  const loop = pipe.pull()
  for (let number = 1; number <= 3; number++) {
    const next = loop.next()
    await peer.pushWhenGranted(`job ${number}`)
    assert.equal((await next).value[0].toString(), `job ${number}`)
    // An ACK may wait 2 ms for more.
    await peer.when(() => peer.settled.length === number - 1)
    await peer.ask(100)
    assert.deepEqual(peer.settled, [1, 2].slice(0, number - 1))
  }
  loop.next()
  await peer.when(() => peer.acked.length === 3)
  assert.deepEqual(peer.acked, [1, 2, 3])
  assert.deepEqual(peer.settled, [1, 2, 3])
})

test('while a job takes long, nothing is held but that job', { timeout }, async t => {
  const { pipe, address } = await puller(t)
  const peer = await dialPush(t, address)
  const loop = pipe.pull()
  const next = loop.next()
  await peer.pushWhenGranted('slow')
  await next
  await longEnoughToStall(t)
  await peer.ask()
  assert.equal(peer.left, 0)
  assert.deepEqual(peer.settled, [])
  const { inFlight, jobs, credit } = pipe.stats().pull.peers[0]
  assert.deepEqual({ inFlight, jobs, credit }, { inFlight: 1, jobs: 1, credit: 0 })
  await loop.return() // until here somebody holds it: one that is garbage has been left
})

test('break acknowledges the job in hand', { timeout }, async t => {
  const { pipe, address } = await puller(t)
  const peer = await dialPush(t, address)
  const taken = take(pipe, 1)
  await peer.pushWhenGranted('job')
  await taken
  await peer.when(() => peer.acked.length === 1)
  await peer.ask()
  assert.deepEqual([peer.settled, peer.left], [[1], 0])
})

test('so do return() and throw()', { timeout }, async t => {
  const { pipe, address } = await puller(t)
  const peer = await dialPush(t, address)
  for (const [index, leave] of [loop => loop.return(), loop => loop.throw(new Error('enough')).catch(() => {})].entries()) {
    const loop = pipe.pull()
    const next = loop.next()
    await peer.pushWhenGranted('job')
    await next
    await leave(loop)
    await peer.when(() => peer.acked.length === index + 1)
  }
  assert.deepEqual(peer.settled, [1, 2])
})

test('a throw that ends the process acknowledges nothing', { timeout }, async t => {
  const listener = await listen(t)
  const { ended } = program(t, `
    import { pipe } from 'zeropipe'
    for await (const [text] of pipe({ pull: ${JSON.stringify(listener.address)} }).pull()) {
      if (text.toString() === 'poison') throw new Error('poisoned')
    }
  `)
  const peer = await new FlowPush(await listener.next()).handshake()
  await peer.pushWhenGranted('good', 'poison')
  const { code, stderr } = await ended
  assert.notEqual(code, 0)
  assert.match(stderr, /poisoned/)
  await peer.closed
  assert.deepEqual(peer.acked, [1])
})

test('a process that ends in order has acknowledged what it did', { timeout }, async t => {
  const listener = await listen(t)
  const { ended } = program(t, `
    import { pipe } from 'zeropipe'
    const own = pipe({ pull: ${JSON.stringify(listener.address)} })
    for await (const [text] of own.pull()) if (text.toString() === 'last') break
    process.exitCode = 0
  `)
  const peer = await new FlowPush(await listener.next()).handshake()
  await peer.pushWhenGranted('first', 'last')
  assert.equal((await ended).code, 0)
  await peer.closed
  assert.deepEqual(peer.acked, [1, 2])
})

test('a batch is acknowledged when the next is asked for', { timeout }, async t => {
  const { pipe, address } = await puller(t)
  const peer = await dialPush(t, address)
  const loop = pipe.pull({ batch: 5 })
  let next = loop.next()
  await peer.when(() => peer.left === 5)
  peer.push('first')
  assert.equal((await next).value.length, 1)
  await peer.ask(100)
  assert.deepEqual(peer.settled, [])
  next = loop.next()
  await peer.when(() => peer.acked.length === 1 && peer.left >= 5)
  peer.push(...numbers(5))
  const { value } = await next
  assert.deepEqual(texts(value), numbers(value.length))
  await loop.return()
  await peer.when(() => peer.settled.length === 6)
  assert.deepEqual(peer.acked, Array.from({ length: 1 + value.length }, (_, i) => i + 1))
  assert.equal(peer.returned.length, 5 - value.length)
})

test('each handler acknowledges its own job when its promise fulfils, in any order', { timeout }, async t => {
  const { pipe, address } = await puller(t)
  const peer = await dialPush(t, address)
  const running = new Map()
  pipe.pull(([text]) => {
    running.set(text.toString(), deferred())
    return running.get(text.toString()).promise
  }, { concurrency: 4 })
  await peer.when(() => peer.left === 4)
  peer.push(...numbers(4))
  while (running.size < 4) await peer.ask(1)
  await peer.ask(50)
  assert.deepEqual([peer.settled, peer.left], [[], 0])
  const order = [2, 0, 3, 1]
  for (const [index, which] of order.entries()) {
    running.get(String(which)).resolve()
    await peer.when(() => peer.acked.length === index + 1)
    assert.equal(peer.acked[index], which + 1)
  }
  assert.deepEqual(peer.settled, [1, 2, 3, 4])
})

test('a handler that rejects is a NACK with its reason, and the job is not tried here again', { timeout }, async t => {
  const { pipe, address } = await puller(t)
  const peer = await dialPush(t, address)
  const calls = []
  const reasons = [new Error('out of paper'), 'just text', undefined, 42, new Error('é'.repeat(2000)), new Error(`x${'é'.repeat(2000)}`), new Error('')]
  pipe.pull(([text]) => {
    calls.push(text.toString())
    throw reasons[Number(text)]
  })
  await peer.pushWhenGranted(...numbers(reasons.length))
  await peer.when(() => peer.nacked.length === reasons.length)
  assert.deepEqual(peer.nacked.map(({ number }) => number), [1, 2, 3, 4, 5, 6, 7])
  assert.deepEqual(peer.nacked.map(({ reason }) => reason),
    ['out of paper', 'just text', 'undefined', '42', 'é'.repeat(512), `x${'é'.repeat(511)}`, ''])
  await longEnoughToStall(t)
  assert.deepEqual(calls, numbers(reasons.length))
  assert.deepEqual(peer.settled, [1, 2, 3, 4, 5, 6, 7])
})

test('what is known of a job is what JOB told, or follows from its place', { timeout }, async t => {
  const { pipe, address } = await puller(t)
  const instance = newInstance()
  const peer = await dialPush(t, address, offer(instance))
  const loop = pipe.pull({ info: true, prefetch: 100 })
  const first = loop.next()
  await peer.when(() => peer.left >= 10)
  peer.send(
    mark({ id: `${instance}-7` }), job('a'), job('b', 'of two frames'), job('c'),
    mark({ id: `${instance}-3`, attempt: 2, other: 'ignored' }), job('d'), job('e'),
    mark({ id: `${instance}-1099511627776`, attempt: 20 }), job('f'), mark({ ID: `${instance}-10` }), job('g'))
  peer.sent += 7
  const seen = [(await first).value]
  while (seen.length < 7) seen.push((await loop.next()).value)
  assert.deepEqual(seen.map(({ job: [text], id, attempt }) => [text.toString(), id, attempt]), [
    ['a', `${instance}-7`, 1], ['b', `${instance}-8`, 1], ['c', `${instance}-9`, 1],
    ['d', `${instance}-3`, 2], ['e', `${instance}-4`, 1], ['f', `${instance}-1099511627776`, 20], ['g', `${instance}-10`, 1]
  ])
})

test('an id may be any number below 2^64', { timeout }, async t => {
  const { pipe, address } = await puller(t)
  const instance = newInstance()
  const peer = await dialPush(t, address, offer(instance))
  const loop = pipe.pull({ info: true, prefetch: 100 })
  const first = loop.next()
  await peer.when(() => peer.left >= 10)
  const sequences = [2n ** 53n - 1n, 2n ** 53n - 2n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 53n + 1n, 2n ** 63n + 1n, 2n ** 64n - 2n, 2n ** 64n - 1n]
  peer.send(...sequences.flatMap(sequence => [mark({ id: `${instance}-${sequence}` }), job('job')]))
  peer.sent += sequences.length
  const ids = [(await first).value.id]
  while (ids.length < sequences.length) ids.push((await loop.next()).value.id)
  assert.deepEqual(ids, sequences.map(sequence => `${instance}-${sequence}`))
})

test('when the last loop leaves, what it did not start is RETURNed and the credit is taken back', { timeout }, async t => {
  const { pipe, address } = await puller(t)
  const peer = await dialPush(t, address)
  const loop = pipe.pull({ prefetch: 10 })
  const next = loop.next()
  await peer.when(() => peer.left === 10)
  peer.push(...numbers(5))
  await next
  await peer.ask()
  assert.deepEqual(peer.returned, [])
  await loop.return()
  await peer.when(() => peer.settled.length === 5 && peer.left === 0)
  assert.deepEqual([peer.acked, peer.returned], [[1], [2, 3, 4, 5]])
  const { inFlight, credit } = pipe.stats().pull.peers[0]
  assert.deepEqual({ inFlight, credit }, { inFlight: 0, credit: 0 })
  // What was on its way when the credit went down comes back as well.
  peer.push('under an earlier CREDIT')
  await peer.when(() => peer.settled.length === 6)
  assert.deepEqual(peer.returned, [2, 3, 4, 5, 6])
  assert.equal(pipe.stats().pull.received, 1)
})

test('a loop that waits and is left gives its credit back', { timeout }, async t => {
  const { pipe, address } = await puller(t)
  const peer = await dialPush(t, address)
  const loop = pipe.pull()
  const next = loop.next()
  await peer.when(() => peer.left === 1)
  await loop.return()
  assert.equal((await next).done, true)
  await peer.when(() => peer.left === 0)
  peer.push('too late')
  await peer.when(() => peer.returned.length === 1)
})

test('a signal that aborts gives back what was not started', { timeout }, async t => {
  const { pipe, address } = await puller(t)
  const peer = await dialPush(t, address)
  const ending = new AbortController()
  const loop = pipe.pull({ prefetch: 10, signal: ending.signal })
  const next = loop.next()
  await peer.when(() => peer.left === 10)
  peer.push(...numbers(5))
  await next
  ending.abort(new Error('enough'))
  await peer.when(() => peer.returned.length === 4)
  assert.deepEqual(peer.returned, [2, 3, 4, 5])
  await assert.rejects(loop.next(), /enough/)
  await peer.when(() => peer.acked.length === 1)
  assert.deepEqual([peer.settled, peer.left], [[1, 2, 3, 4, 5], 0])
})

test('one slot, two pushers: what comes second is RETURNed', { timeout }, async t => {
  const { pipe, address } = await puller(t)
  const [one, two] = [await dialPush(t, address), await dialPush(t, address)]
  const loop = pipe.pull()
  const next = loop.next()
  await one.when(() => one.left === 1)
  await two.when(() => two.left === 1)
  one.push('first')
  assert.equal((await next).value[0].toString(), 'first')
  await two.when(() => two.left === 0)
  two.push('second')
  await two.when(() => two.returned.length === 1)
  await one.ask()
  assert.deepEqual([one.settled, two.settled], [[], [1]])
  loop.next()
  await two.when(() => two.left > 0)
  await one.when(() => one.acked.length === 1)
  assert.deepEqual([one.settled, two.settled], [[1], [1]])
})

test('one slot, many pushers that all send at once: one is begun with, the others go back', { timeout }, async t => {
  const { pipe, address } = await puller(t)
  const peers = []
  for (let i = 0; i < 10; i++) peers.push(await dialPush(t, address))
  const loop = pipe.pull()
  const next = loop.next()
  for (const peer of peers) await peer.when(() => peer.left === 1)
  for (const peer of peers) peer.push('job')
  await next
  const returned = () => peers.filter(peer => peer.returned.length === 1).length
  while (returned() < 9) for (const peer of peers) await peer.ask(1)
  assert.equal(peers.filter(peer => peer.settled.length === 0).length, 1)
  assert.equal(pipe.stats().pull.received, 1)
})

test('what lies unstarted for 100 ms before a loop that has stopped is RETURNed', { timeout }, async t => {
  const { pipe, address } = await puller(t)
  const peer = await dialPush(t, address)
  const loop = await fast(pipe, peer)
  assert.deepEqual(await stall(loop, peer, 9), [2, 3, 4, 5, 6, 7, 8, 9, 10])
  await peer.when(() => peer.left === 0)
  assert.equal(peer.settled.length, peer.sent - 1)
  // What it learnt of its pace is forgotten.
  loop.next()
  await peer.when(() => peer.left > 0)
  assert.equal(peer.left, 1)
})

test('a loop that is called for a job is granted no fewer until its thread comes', { timeout }, async t => {
  const { pipe, address } = await puller(t)
  const peer = await dialPush(t, address)
  const next = (await fast(pipe, peer)).next()
  await peer.ask(20)
  // By then this thread does not read by itself any more.
  await sleep(100)
  const [before, told] = [lastCredit(peer), peer.credits.length]
  peer.push('called for')
  for (const until = performance.now() + 20; performance.now() < until;);
  await next
  await peer.ask(20)
  // Much less would be that of a loop that has stalled, later.
  assert.ok(!peer.credits.slice(told).some(({ jobs }) => jobs === before - 1))
})

test('with a fixed prefetch it stays', { timeout }, async t => {
  const { pipe, address } = await puller(t)
  const peer = await dialPush(t, address)
  const loop = pipe.pull({ prefetch: 10 })
  const next = loop.next()
  await peer.when(() => peer.left === 10)
  peer.push(...numbers(6))
  await next
  await longEnoughToStall(t)
  await peer.ask()
  assert.deepEqual(peer.settled, [])
  for (const text of numbers(6).slice(1)) assert.equal((await loop.next()).value[0].toString(), text)
  assert.equal(pipe.stats().pull.received, 6)
})

test('while JavaScript blocks, PINGs are answered and unstarted jobs are RETURNed', { timeout: 20_000 }, async t => {
  const listener = await listen(t)
  const flag = ipcPlace().slice('ipc://'.length)
  t.after(() => rmSync(flag, { force: true }))
  const { said } = program(t, `
    import { existsSync, writeSync } from 'node:fs'
    import { pipe } from 'zeropipe'
    for await (const [text] of pipe({ pull: ${JSON.stringify(listener.address)} }).pull()) {
      if (text.toString() !== 'block') continue
      writeSync(1, 'blocked')
      while (!existsSync(${JSON.stringify(flag)}));
      writeSync(1, 'free')
    }
  `)
  const peer = await new FlowPush(await listener.next()).handshake()
  for (let sent = 0; peer.left < 10; sent++) await peer.pushWhenGranted('fast')
  await peer.when(() => peer.acked.length >= peer.sent - 1 && peer.left >= 10)
  peer.push('block')
  const block = peer.sent
  await said('blocked')
  // Perhaps the credit is lower by now; then these came under an earlier one.
  const highest = Math.max(...peer.credits.map(({ jobs }) => jobs))
  const more = Math.min(9, highest - peer.sent)
  assert.ok(more > 0)
  peer.push(...numbers(more))
  await peer.when(() => peer.returned.length === more)
  assert.deepEqual(peer.returned, Array.from({ length: more }, (_, i) => block + 1 + i))
  await peer.when(() => peer.left === 0)
  await peer.ask(20)
  assert.ok(!peer.settled.includes(block))
  assert.ok(!existsSync(flag))
  writeFileSync(flag, '')
  await said('free')
  await peer.when(() => peer.acked.includes(block))
  assert.equal(peer.settled.length, peer.sent)
})

test('while a handler blocks, jobs for which there were free handlers are RETURNed, and no more are granted', { timeout: 20_000 }, async t => {
  const listener = await listen(t)
  const flag = ipcPlace().slice('ipc://'.length)
  t.after(() => rmSync(flag, { force: true }))
  const { said } = program(t, `
    import { existsSync, writeSync } from 'node:fs'
    import { pipe } from 'zeropipe'
    await pipe({ pull: ${JSON.stringify(listener.address)} }).pull(([text]) => {
      if (text.toString() !== 'block') return
      writeSync(1, 'blocked')
      while (!existsSync(${JSON.stringify(flag)}));
      writeSync(1, 'free')
    }, { concurrency: 4 })
  `)
  const peer = await new FlowPush(await listener.next()).handshake()
  await peer.when(() => peer.left === 4)
  peer.push('block')
  await said('blocked')
  peer.push('first', 'second')
  await peer.when(() => peer.returned.length === 2)
  await peer.when(() => peer.left === 0)
  await peer.ask(20)
  assert.deepEqual([peer.returned, peer.left, peer.acked], [[2, 3], 0, []])
  writeFileSync(flag, '')
  await said('free')
  await peer.when(() => peer.acked.includes(1) && peer.left >= 4)
})

for (const [who, again] of [['the same pusher', instance => instance], ['another pusher', newInstance], ['nobody', undefined]]) {
  test(`a link has ended and ${who} comes: what was unstarted is ${who === 'the same pusher' ? 'dropped' : 'done'}`, { timeout }, async t => {
    const { pipe, address } = await puller(t)
    const instance = newInstance()
    const first = await dialPush(t, address, offer(instance))
    const loop = pipe.pull({ prefetch: 10, info: true })
    const next = loop.next()
    await first.when(() => first.left === 10)
    first.push('a', 'b', 'c')
    assert.equal((await next).value.job[0].toString(), 'a')
    const left = happening(pipe, 'leave')
    first.destroy()
    await left
    const seen = []
    const see = async () => {
      const { job: [text], attempt } = (await loop.next()).value
      seen.push([text.toString(), attempt])
    }
    if (again === undefined) {
      for (let i = 0; i < 2; i++) await see()
      assert.deepEqual(seen, [['b', 1], ['c', 1]])
      return
    }
    const name = again(instance)
    const second = await dialPush(t, address, offer(name))
    await second.when(() => second.left > 0)
    await turns()
    second.send(mark({ id: `${name}-2`, attempt: 2 }), job('b'), mark({ id: `${name}-3`, attempt: 2 }), job('c'))
    second.sent += 2
    for (let i = 0; i < (name === instance ? 2 : 4); i++) await see()
    assert.deepEqual(seen, [...(name === instance ? [] : [['b', 1], ['c', 1]]), ['b', 2], ['c', 2]])
    loop.next()
    await second.when(() => second.acked.length === 2)
    assert.deepEqual(second.settled, [1, 2])
  })
}

test('a link that ends after the same pusher has come again leaves nothing unstarted either', { timeout }, async t => {
  const { pipe, address } = await puller(t)
  const instance = newInstance()
  const first = await dialPush(t, address, offer(instance))
  const loop = pipe.pull({ prefetch: 10, info: true })
  const next = loop.next()
  await first.when(() => first.left === 10)
  first.push('a', 'b', 'c')
  assert.equal((await next).value.job[0].toString(), 'a')
  // The pusher has noticed that its link is dead, and dials; the puller notices later.
  const second = await dialPush(t, address, offer(instance))
  await second.ask()
  const left = happening(pipe, 'leave')
  first.destroy()
  await left
  await second.when(() => second.left > 0)
  await turns()
  second.send(mark({ id: `${instance}-2`, attempt: 2 }), job('b'), mark({ id: `${instance}-3`, attempt: 2 }), job('c'))
  second.sent += 2
  const seen = []
  for (let i = 0; i < 2; i++) {
    const { job: [text], attempt } = (await loop.next()).value
    seen.push([text.toString(), attempt])
  }
  assert.deepEqual(seen, [['b', 2], ['c', 2]])
})

test('a word for a link that has ended is said to nobody', { timeout }, async t => {
  const { pipe, address } = await puller(t)
  const instance = newInstance()
  const first = await dialPush(t, address, offer(instance))
  const loop = pipe.pull()
  const next = loop.next()
  await first.pushWhenGranted('a')
  await next
  const left = happening(pipe, 'leave')
  first.destroy()
  await left
  const second = await dialPush(t, address, offer(instance))
  const again = loop.next()
  await second.pushWhenGranted('b')
  await again
  await second.ask(50)
  assert.deepEqual(second.settled, [])
  loop.next()
  await second.when(() => second.settled.length > 0)
  assert.deepEqual(second.acked, [1])
})

test('close gives back what was not started, and the link stays until the job in a loop body is settled', { timeout }, async t => {
  const { pipe, address } = await puller(t)
  const peer = await dialPush(t, address)
  const loop = pipe.pull({ prefetch: 10 })
  const next = loop.next()
  await peer.when(() => peer.left === 10)
  peer.push(...numbers(5))
  await next
  const closing = pipe.close()
  await peer.when(() => peer.returned.length === 4 && peer.left === 0)
  assert.deepEqual(peer.returned, [2, 3, 4, 5])
  await longEnoughToStall(t)
  await peer.ask(20)
  assert.deepEqual(peer.acked, [])
  assert.equal((await loop.next()).done, true)
  await peer.closed
  assert.deepEqual(peer.acked, [1])
  assert.equal(peer.log.at(-1).name, 'ACK')
  await closing
})

test('close waits in the same way for handlers, and tells what became of each', { timeout }, async t => {
  const { pipe, address } = await puller(t)
  const peer = await dialPush(t, address)
  const running = []
  const handling = pipe.pull(() => {
    running.push(deferred())
    return running.at(-1).promise
  }, { concurrency: 2, prefetch: 5 })
  await peer.when(() => peer.left === 5)
  peer.push(...numbers(5))
  while (running.length < 2) await peer.ask(1)
  pipe.close()
  await peer.when(() => peer.returned.length === 3)
  assert.deepEqual(peer.returned, [3, 4, 5])
  running[1].resolve()
  await peer.when(() => peer.acked.length === 1)
  await peer.ask(20)
  running[0].reject(new Error('no'))
  await peer.closed
  assert.deepEqual([peer.acked, peer.nacked], [[2], [{ number: 1, reason: 'no' }]])
  await handling
  assert.equal(running.length, 2)
})

test('close with nothing in hand ends the link after everything was said', { timeout }, async t => {
  const { pipe, address } = await puller(t)
  const peer = await dialPush(t, address)
  const taken = take(pipe, 1)
  await peer.pushWhenGranted('job')
  await taken
  await pipe.close()
  await peer.closed
  assert.deepEqual(peer.settled, [1])
})

test('a job that comes while the pipe closes is RETURNed', { timeout }, async t => {
  const { pipe, address } = await puller(t)
  const peer = await dialPush(t, address)
  const loop = pipe.pull()
  const next = loop.next()
  await peer.pushWhenGranted('in hand')
  await next
  const other = pipe.pull({ batch: 3 }).next()
  await peer.when(() => peer.left === 3)
  pipe.close()
  await peer.when(() => peer.left === 0)
  peer.push('one', 'two', 'three')
  await peer.when(() => peer.returned.length === 3)
  assert.equal((await other).done, true)
  await loop.return()
  await peer.closed
  assert.deepEqual([peer.acked, peer.returned], [[1], [2, 3, 4]])
})

test('a job in a loop body is acknowledged while another loop of the same pipe goes on', { timeout }, async t => {
  const { pipe, address } = await puller(t)
  const peer = await dialPush(t, address)
  const [one, two] = [pipe.pull(), pipe.pull()]
  const firsts = [one.next(), two.next()]
  await peer.when(() => peer.left === 2)
  peer.push('a', 'b')
  const [a] = texts((await Promise.all(firsts)).map(({ value }) => value))
  await one.return()
  await peer.when(() => peer.acked.length === 1)
  await peer.ask(20)
  assert.deepEqual(peer.settled, [a === 'a' ? 1 : 2])
  two.next()
  await peer.when(() => peer.acked.length === 2)
})

test('two loops that wait begin with two jobs, and give none back', { timeout: 20_000 }, async t => {
  const { pipe, address } = await puller(t)
  const peer = await dialPush(t, address)
  for (let round = 0; round < 300; round++) {
    const loops = [pipe.pull(), pipe.pull()]
    const firsts = loops.map(loop => loop.next())
    await peer.when(() => peer.left === 2)
    // One after the other, so that the second comes while the first is on its way to its loop.
    await peer.peer.flush(job('a'))
    await peer.peer.flush(job('b'))
    peer.sent += 2
    const got = Promise.all(firsts)
    const returned = peer.when(() => peer.returned.length > 0)
    returned.catch(() => {})
    await Promise.race([got, returned])
    assert.deepEqual(peer.returned, [], `in round ${round}`)
    for (const loop of loops) await loop.return()
    await peer.when(() => peer.acked.length === peer.sent && peer.left === 0)
  }
})

test('four handlers that wait begin with four jobs, and give none back', { timeout: 20_000 }, async t => {
  const { pipe, address } = await puller(t)
  const peer = await dialPush(t, address)
  for (let round = 0; round < 50; round++) {
    const ending = new AbortController()
    const [running, release] = [[], deferred()]
    const handling = pipe.pull(([text]) => {
      running.push(text.toString())
      return release.promise
    }, { concurrency: 4, signal: ending.signal })
    await peer.when(() => peer.left === 4)
    for (const text of numbers(4)) await peer.peer.flush(job(text))
    peer.sent += 4
    while (running.length < 4) {
      await peer.ask(1)
      assert.deepEqual(peer.returned, [], `in round ${round}`)
    }
    release.resolve()
    ending.abort(new Error('enough'))
    await assert.rejects(handling, /enough/)
    await peer.when(() => peer.acked.length === peer.sent && peer.left === 0)
  }
})

/** Sends a job whenever it may, one in so many milliseconds; resolves with the most that it might have sent at once. */
async function mostGranted (peer, pause, isOver) {
  let most = 0
  while (!isOver()) {
    most = Math.max(most, peer.left)
    if (peer.left > 0) peer.push('job')
    await sleep(pause)
  }
  return most
}

// 50 ms a job are at most 20 jobs a second for each, so in 20 ms and a round trip they do less than one, or a few if the
// round trip was slow when it was measured. Jobs come so slowly that the consumer often waits.
for (const [what, slots, consume] of [
  ['a loop', 1, async (pipe, over) => { for await (const [text] of pipe.pull()) if (await sleep(50) || over(text)) break }],
  ['a loop of batches of 5', 5, async (pipe, over) => { for await (const [[text]] of pipe.pull({ batch: 5 })) if (await sleep(50) || over(text)) break }],
  ['a pool of 4 handlers', 4, async (pipe, over) => {
    const ending = new AbortController()
    const handling = pipe.pull(async ([text]) => { if (await sleep(50) || over(text)) ending.abort(new Error('enough')) }, { concurrency: 4, signal: ending.signal })
    await assert.rejects(handling, /enough/)
  }]
]) {
  test(`${what} that takes 50 ms is granted next to nothing ahead`, { timeout: 20_000 }, async t => {
    const { pipe, address } = await puller(t)
    const peer = await dialPush(t, address)
    let jobs = 0
    let isOver = false
    const watching = mostGranted(peer, 30, () => isOver)
    await consume(pipe, () => ++jobs >= 60)
    isOver = true
    const most = await watching
    assert.ok(most <= slots + 10, `${most} were granted at once`)
  })
}

test('a thread that ends in the middle of a job is a NACK, and what it did not start is RETURNed', { timeout: 20_000 }, async t => {
  const listener = await listen(t)
  const index = JSON.stringify(new URL('../index.js', import.meta.url).href)
  const { said } = program(t, `
    import { Worker } from 'node:worker_threads'
    import { ready } from 'zeropipe'
    setInterval(() => {}, 60_000)
    await ready({ pushers: 1 })
    const worker = new Worker(\`
      import(${index.replaceAll('"', "'")}).then(async ({ pull }) => {
        const { parentPort } = await import('node:worker_threads')
        for await (const [text] of pull({ prefetch: 10 })) {
          if (text.toString() !== 'last') continue
          parentPort.postMessage('it has it')
          await new Promise(() => setInterval(() => {}, 60_000))
        }
      })
    \`, { eval: true })
    worker.on('message', async () => {
      await worker.terminate()
      console.log('terminated')
    })
  `, { env: { ZEROPIPE_ENDPOINT: listener.address } })
  const peer = await new FlowPush(await listener.next()).handshake()
  await peer.when(() => peer.left >= 10)
  peer.push('first', 'last', ...numbers(5))
  await said('terminated')
  await peer.when(() => peer.settled.length === 7)
  assert.deepEqual([peer.acked, peer.nacked.map(({ number }) => number), peer.returned], [[1], [2], [3, 4, 5, 6, 7]])
  await peer.when(() => peer.left === 0)
})

test('every job of every pusher gets one word, whatever loops and handlers do', { timeout: 30_000 }, async t => {
  const { pipe, address } = await puller(t)
  const peers = []
  for (let i = 0; i < 4; i++) peers.push(await dialPush(t, address))
  let isOver = false
  const pushing = peers.map(async peer => {
    while (!isOver && !peer.isOver) {
      await peer.when(() => peer.left > 0 || isOver)
      // It may have been lowered meanwhile.
      if (!isOver && peer.left > 0) peer.push(...Array(Math.min(peer.left, 50)).fill('job'))
    }
  })
  const isFailing = (() => { let count = 0; return () => count++ % 7 === 3 })()
  const stopping = new AbortController()
  const handling = [1, 5].map(concurrency => pipe.pull(async () => {
    await turns(concurrency)
    if (isFailing()) throw new Error('no')
  }, { concurrency, signal: stopping.signal }))
  for (let round = 0; round < 60; round++) {
    await take(pipe, 1 + round % 5)
    await take(pipe, 3, { prefetch: 20 })
    for await (const jobs of pipe.pull({ batch: 10 })) {
      assert.ok(jobs.length <= 10)
      break
    }
  }
  const stopped = handling.map(one => assert.rejects(one, /enough/))
  stopping.abort(new Error('enough'))
  await Promise.all(stopped)
  isOver = true
  for (const peer of peers) {
    await peer.when(() => peer.settled.length === peer.sent)
    await peer.ask()
    assert.deepEqual(peer.settled, Array.from({ length: peer.sent }, (_, i) => i + 1))
  }
  for (const { inFlight, credit } of pipe.stats().pull.peers) assert.deepEqual({ inFlight, credit }, { inFlight: 0, credit: 0 })
  await pipe.close()
  await Promise.allSettled(pushing)
})
