import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pusher } from './helpers/ends.mjs'
import { happening } from './helpers/happening.mjs'
import { open } from './helpers/open.mjs'
import { inprocPlace } from './helpers/place.mjs'
import { hidesRejections, spinsAfterErrors } from './helpers/runtime.mjs'
import { turns } from './helpers/settle.mjs'
import { numbers, texts } from './helpers/take.mjs'
import { until } from './helpers/until.mjs'
import { loop, worker } from './helpers/worker.mjs'

const limit = { timeout: 30_000 }
const places = ['tcp://127.0.0.1:*', inprocPlace()]

/** Two ends that know each other. */
async function pair (t, place, options) {
  const { pipe, address } = await pusher(t, options, place)
  const worker = open(t, { pull: address })
  await worker.ready({ pushers: 1 })
  await pipe.ready({ pullers: 1 })
  return { pusher: pipe, worker, address }
}

/**
 * How many jobs the pusher knows to be done, and in flight, now that everything said before has arrived: two more jobs
 * have gone to another loop of the worker since, and are not counted.
 */
async function settled (pusher, worker) {
  const before = pusher.stats().push
  const other = worker.pull()
  for (const text of ['witness', 'another']) {
    const asked = other.next()
    await pusher.push(text)
    const { value } = await asked
    assert.deepEqual(texts([value]), [text])
  }
  const { done, inFlight } = await until(() => {
    const { push } = pusher.stats()
    return push.done > before.done && push
  })
  await other.return()
  await until(() => pusher.stats().push.done >= before.done + 2)
  return { done: done - 1, inFlight: inFlight - 1 }
}

for (const place of places) {
  const how = `(${place.slice(0, 3)})`

  test(`a loop acknowledges a job when it asks for the next ${how}`, limit, async t => {
    const { pusher, worker } = await pair(t, place)
    const loop = worker.pull()
    const first = loop.next()
    await pusher.push('a')
    assert.deepEqual(texts([(await first).value]), ['a'])
    assert.deepEqual(await settled(pusher, worker), { done: 0, inFlight: 1 })
    const second = loop.next()
    await pusher.drain()
    await loop.return()
    assert.deepEqual(await second, { value: undefined, done: true })
  })

  test(`a job in the body of a loop is in flight, and drain waits for it ${how}`, limit, async t => {
    const { pusher, worker } = await pair(t, place)
    const seen = []
    let drained = false
    const looping = (async () => {
      for await (const [message] of worker.pull()) {
        seen.push([message.toString(), pusher.stats().push.inFlight > 0, drained])
        if (seen.length === 20) break
      }
    })()
    for (const number of numbers(20)) await pusher.push(number)
    const draining = pusher.drain().then(() => { drained = true })
    await looping
    await draining
    assert.deepEqual(seen, numbers(20).map(number => [number, true, false]))
    assert.equal(pusher.stats().push.done, 20)
  })

  test(`break acknowledges the job in hand ${how}`, limit, async t => {
    const { pusher, worker } = await pair(t, place)
    await pusher.push('a')
    for await (const [message] of worker.pull()) {
      assert.equal(message.toString(), 'a')
      assert.equal((await settled(pusher, worker)).done, 0)
      break
    }
    await pusher.drain()
    assert.equal(pusher.stats().push.redelivered, 0)
  })

  test(`return() acknowledges, and so does throw() ${how}`, limit, async t => {
    const { pusher, worker } = await pair(t, place)
    const mistake = new Error('mine')
    for (const leave of [loop => loop.return(), loop => assert.rejects(loop.throw(mistake), mistake)]) {
      await pusher.push('a')
      const loop = worker.pull()
      await loop.next()
      assert.equal((await settled(pusher, worker)).inFlight, 1)
      await leave(loop)
      await pusher.drain()
    }
    assert.equal(pusher.stats().push.redelivered, 0)
  })

  test(`a throw in the body that the program catches counts as done ${how}`, limit, async t => {
    const { pusher, worker } = await pair(t, place)
    await pusher.push('a')
    await assert.rejects(async () => {
      for await (const job of worker.pull()) throw new Error(texts([job])[0])
    }, { message: 'a' })
    await pusher.drain()
    assert.equal(pusher.stats().push.redelivered, 0)
  })

  test(`all jobs of a batch are done when the next batch is asked for ${how}`, limit, async t => {
    const { pusher, worker } = await pair(t, place)
    for (const number of numbers(50)) await pusher.push(number)
    const taken = []
    for await (const batch of worker.pull({ batch: 5 })) {
      await until(() => pusher.stats().push.done >= taken.length)
      await turns()
      assert.equal(pusher.stats().push.done, taken.length)
      taken.push(...texts(batch))
      if (taken.length === 50) break
    }
    await pusher.drain()
    assert.deepEqual(taken, numbers(50))
  })

  test(`a job is done when its handler fulfils, not before, and comes again when it rejects ${how}`, limit, async t => {
    const { pusher, worker } = await pair(t, place)
    const calls = []
    const wait = []
    const controller = new AbortController()
    const handling = worker.pull(async ([message], { id, attempt }) => {
      calls.push({ text: message.toString(), id, attempt })
      await new Promise((resolve, reject) => wait.push({ resolve, reject }))
    }, { signal: controller.signal })
    await pusher.push('a')
    await until(() => wait.length === 1)
    assert.deepEqual(await settled(pusher, worker), { done: 0, inFlight: 1 })
    wait[0].reject(new Error('not now'))
    await until(() => wait.length === 2)
    assert.deepEqual(calls, [{ ...calls[0], text: 'a', attempt: 1 }, { ...calls[0], attempt: 2 }])
    assert.equal(pusher.stats().push.redelivered, 1)
    assert.equal((await settled(pusher, worker)).inFlight, 1)
    wait[1].resolve()
    await pusher.drain()
    controller.abort()
    await assert.rejects(handling, { name: 'AbortError' })
  })

  test(`abort while the loop waits: the job before was done, later ones go to others ${how}`, limit, async t => {
    const { pusher, worker } = await pair(t, place)
    const controller = new AbortController()
    const loop = worker.pull({ signal: controller.signal })
    await pusher.push('a')
    await loop.next()
    const waiting = loop.next()
    await pusher.drain()
    controller.abort(new Error('enough'))
    await assert.rejects(waiting, { message: 'enough' })
    await pusher.push('b')
    for await (const job of worker.pull()) {
      assert.deepEqual(texts([job]), ['b'])
      break
    }
    await pusher.drain()
    assert.equal(pusher.stats().push.redelivered, 0)
  })

  test(`abort while the loop is in its body: the job in hand is done when the body is ${how}`, limit, async t => {
    const { pusher, worker } = await pair(t, place)
    const controller = new AbortController()
    for (const number of numbers(10)) await pusher.push(number)
    const loop = worker.pull({ signal: controller.signal })
    const { value } = await loop.next()
    controller.abort(new Error('enough'))
    const others = []
    for await (const job of worker.pull()) {
      others.push(job)
      if (others.length === 9) break
    }
    assert.deepEqual(texts([value, ...others]), numbers(10))
    await until(() => pusher.stats().push.done === 9)
    assert.deepEqual(await settled(pusher, worker), { done: 9, inFlight: 1 })
    await assert.rejects(loop.next(), { message: 'enough' })
    await pusher.drain()
    assert.equal(pusher.stats().push.redelivered, 0)
  })

  test(`next() acknowledges only what that very iterator delivered ${how}`, limit, async t => {
    const { pusher, worker } = await pair(t, place)
    const [one, two] = [worker.pull(), worker.pull()]
    for (const [loop, text] of [[one, 'a'], [two, 'b']]) {
      const asked = loop.next()
      await pusher.push(text)
      assert.deepEqual(texts([(await asked).value]), [text])
    }
    const asked = two.next()
    await until(() => pusher.stats().push.done === 1)
    await pusher.push('c')
    assert.deepEqual(texts([(await asked).value]), ['c'])
    assert.deepEqual([pusher.stats().push.done, pusher.stats().push.inFlight], [1, 2])
    await two.return()
    await until(() => pusher.stats().push.done === 2)
    assert.deepEqual(await settled(pusher, worker), { done: 2, inFlight: 1 })
    await one.return()
    await pusher.drain()
  })

  test(`parallel asks of one iterator: all that it delivered is done at the next ask ${how}`, limit, async t => {
    const { pusher, worker } = await pair(t, place)
    const loop = worker.pull()
    const asked = [loop.next(), loop.next(), loop.next()]
    for (const number of numbers(3)) await pusher.push(number)
    assert.deepEqual(texts((await Promise.all(asked)).map(({ value }) => value)), numbers(3))
    assert.deepEqual(await settled(pusher, worker), { done: 0, inFlight: 3 })
    const next = loop.next()
    await pusher.drain()
    await pusher.push('3')
    assert.deepEqual(texts([(await next).value]), ['3'])
    await loop.return()
    await pusher.drain()
    assert.equal(pusher.stats().push.redelivered, 0)
  })
}

for (const [what, text] of Object.entries({
  'at the top level': "throw new Error('on purpose')",
  'after an await': "await new Promise(resolve => setTimeout(resolve)); throw new Error('on purpose')",
  'in a callback': "setTimeout(() => { throw new Error('on purpose') }); await new Promise(() => {})"
})) {
  test(`an uncaught throw in the body (${what}) gives the job back, to another worker and as attempt 2`, { ...limit, skip: what === 'in a callback' && spinsAfterErrors }, async t => {
    const { pipe, address } = await pusher(t)
    for (const number of numbers(3)) await pipe.push(number)
    const bad = worker(t, address, loop(`if (text === '1') { await order('go'); ${text} }`))
    await until(() => bad.begun.length === 2)
    await until(() => pipe.stats().push.done === 1)
    const left = happening(pipe, 'leave')
    bad.tell('go')
    const { code, stderr } = await bad.ended
    assert.equal(code, 1)
    assert.match(stderr, /on purpose/)
    await left
    const good = worker(t, address, loop())
    await pipe.drain()
    await until(() => good.finished.length === 2)
    assert.deepEqual(good.begun.map(({ text }) => text), ['1', '2'])
    assert.deepEqual(good.begun[0], { ...bad.begun[1], attempt: 2 })
  })
}

test('a rejection that nobody handles, in a loop of an async function, gives the job back', { ...limit, skip: hidesRejections }, async t => {
  const { pipe, address } = await pusher(t)
  await pipe.push('a')
  const bad = worker(t, address, `async function run () { ${loop("throw new Error('on purpose')")} }; run()`)
  assert.equal((await bad.ended).code, 1)
  const good = worker(t, address, loop())
  await pipe.drain()
  await until(() => good.finished.length === 1)
  assert.deepEqual(good.begun, [{ ...bad.begun[0], attempt: 2 }])
})

test('killed with two iterators, one of which asked for more: only what the other had in hand comes again', limit, async t => {
  const { pipe, address } = await pusher(t)
  const bad = worker(t, address, `
    const [one, two] = [pull({ info: true }), pull({ info: true })]
    begin((await one.next()).value)
    say('first')
    begin((await two.next()).value)
    two.next()
  `)
  await pipe.push('a')
  await bad.heard('first')
  await pipe.push('b')
  await until(() => bad.begun.length === 2 && pipe.stats().push.done === 1)
  bad.child.kill('SIGKILL')
  await bad.ended
  const good = worker(t, address, loop())
  await pipe.drain()
  await until(() => good.finished.length === 1)
  assert.deepEqual(good.begun, [{ ...bad.begun[0], text: 'a', attempt: 2 }])
})

test('killed with a batch in hand: all of it comes again, nothing of the batch before', limit, async t => {
  const { pipe, address } = await pusher(t)
  for (const number of numbers(20)) await pipe.push(number)
  const bad = worker(t, address, `
    let count = 0
    for await (const batch of pull({ batch: 5 })) {
      for (const [message] of batch) say((count === 0 ? 'done ' : 'held ') + message)
      if (count++ === 1) {
        setInterval(() => {}, 1000) // or the process would end by itself
        await new Promise(() => say('holds'))
      }
    }
  `)
  await bad.heard('holds')
  const texts = what => bad.lines.filter(line => line.startsWith(what)).map(line => line.slice(5))
  const [done, held] = [texts('done '), texts('held ')]
  await until(() => pipe.stats().push.done === done.length)
  bad.child.kill('SIGKILL')
  await bad.ended
  const good = worker(t, address, loop())
  await pipe.drain()
  await until(() => good.finished.length === 20 - done.length)
  assert.deepEqual([...done, ...good.finished], numbers(20))
  for (const { text, attempt } of good.begun) if (held.includes(text)) assert.equal(attempt, 2)
})
