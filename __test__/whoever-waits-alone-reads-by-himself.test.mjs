// A thread that alone waits for what a connection brings reads it by itself (src/engine/tap.rs), past the I/O thread. Whatever happens
// meanwhile must be as if it did not.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { puller, replier, requester } from './helpers/ends.mjs'
import { dialPush } from './helpers/flow.mjs'
import { gate } from './helpers/gate.mjs'
import { happening } from './helpers/happening.mjs'
import { open } from './helpers/open.mjs'
import { program } from './helpers/program.mjs'
import { asText } from './helpers/raw-requests.mjs'
import { limit, PLACES, WARM, echo, code, ask, isSettled, pair } from './helpers/reading.mjs'
import { numbers, texts } from './helpers/take.mjs'
import { until } from './helpers/until.mjs'
import { worker } from './helpers/worker.mjs'

// Others come and go.

for (const [name, place] of Object.entries(PLACES)) {
  test(`a second replier comes and goes again and again, and every reply is right (${name})`, limit, async t => {
    const { pipe: near, address } = await requester(t, {}, place())
    open(t, { reply: { connect: address } }).reply(echo)
    await ask(near)
    let done = WARM
    for (let round = 0; round < 10; round++) {
      const second = open(t, { reply: { connect: address } })
      second.reply(echo)
      const joined = happening(near, 'join')
      let isIn = false
      joined.then(() => { isIn = true })
      for (; !isIn; done++) await ask(near, 1)
      await ask(near, 50)
      const left = happening(near, 'leave')
      let isOut = false
      left.then(() => { isOut = true })
      const closed = second.close()
      for (; !isOut; done++) await ask(near, 1)
      await ask(near, 50)
      done += 100
      await closed
    }
    assert.equal(near.stats().request.done, done)
    await isSettled(near, done)
    assert.deepEqual([near.stats().request.dead], [0])
  })

  test(`a second replier that is closed while it is the only one left over: none is lost (${name})`, limit, async t => {
    const { pipe: near, address } = await requester(t, {}, place())
    let before = open(t, { reply: { connect: address } })
    before.reply(echo)
    await ask(near)
    for (let round = 0; round < 8; round++) {
      const next = open(t, { reply: { connect: address } })
      const closed = before.close()
      next.reply(echo)
      await ask(near, WARM)
      await closed
      before = next
    }
    await isSettled(near, 9 * WARM)
  })

  test(`a second requester comes and goes again and again, and everybody gets his own replies (${name})`, limit, async t => {
    const { near, far, address } = await pair(t, echo, { place: place() })
    await ask(near)
    for (let round = 0; round < 10; round++) {
      const second = open(t, { request: address })
      await Promise.all([ask(near, 100), ask(second, 100)])
      await Promise.all([ask(near, 20), second.close()])
    }
    await isSettled(near, WARM + 1200)
    assert.equal(far.stats().reply.received, WARM + 2200)
  })

  test(`a second pool of handlers comes and goes again and again (${name})`, limit, async t => {
    const { near, far } = await pair(t, echo, { place: place() })
    await ask(near)
    for (let round = 0; round < 20; round++) {
      const leaving = new AbortController()
      const second = far.reply(echo, { signal: leaving.signal, concurrency: 1 + round % 3 })
      await ask(near, 50)
      leaving.abort(new Error('enough'))
      await assert.rejects(second, /enough/)
      await ask(near, 50)
    }
    await isSettled(near, WARM + 2000)
    assert.equal(far.stats().reply.received, WARM + 2000)
  })

  test(`requests of 1 to 64 in flight, with concurrency 1 to 64, in turn (${name})`, limit, async t => {
    for (const concurrency of [1, 2, 64]) {
      const { near } = await pair(t, echo, { place: place(), concurrency })
      let done = 0
      for (let round = 0; round < 2; round++) {
        for (let many = 1; many <= 64; many *= 2) {
          const asked = Array.from({ length: many }, () => ask(near, Math.ceil(200 / many)))
          await Promise.all(asked)
          done += many * Math.ceil(200 / many)
          await ask(near, 20)
          done += 20
        }
      }
      assert.equal(near.stats().request.done, done)
      await isSettled(near, done)
    }
  })

  test(`large bodies among small ones come and go as they are (${name})`, limit, async t => {
    const { near } = await pair(t, echo, { place: place() })
    await ask(near)
    const large = [randomBytes(200 << 10), randomBytes(3), randomBytes(70_000)]
    const middle = [randomBytes(16_384), randomBytes(8_200)]
    let done = WARM
    for (let round = 0; round < 20; round++) {
      for (const body of [large, middle]) assert.deepEqual(await near.request(body), body)
      await ask(near, 12)
      const small = Array.from({ length: 5 }, () => ask(near, 5))
      assert.deepEqual(await near.request(large), large)
      await Promise.all(small)
      done += 2 + 12 + 26
    }
    assert.equal(near.stats().request.done, done)
    await isSettled(near, done)
  })

  test(`replies of every size around the buffer of a reader (${name})`, limit, async t => {
    const { near } = await pair(t, ([size]) => Buffer.alloc(Number(size), size), { place: place() })
    const sizes = [8_191, 8_192, 16_300, 16_350, 16_360, 16_361, 16_362, 16_384, 16_385, 32_768, 40_000, 65_535, 65_536, 65_537]
    for (let round = 0; round < 8; round++) {
      for (const size of sizes) {
        for (let small = 0; small < 15; small++) assert.deepEqual(await near.request('3'), [Buffer.from('333')])
        assert.deepEqual(await near.request(size), [Buffer.alloc(size, String(size))])
      }
    }
  })

  test(`stats() right after a reply has counted it, every time (${name})`, limit, async t => {
    const { near } = await pair(t, echo, { place: place() })
    for (let done = 1; done <= 1000; done++) {
      await ask(near, 1)
      assert.equal(near.stats().request.done, done)
    }
    await isSettled(near, 1000)
    assert.equal(near.stats().request.peers[0].done, 1000)
  })
}

test('a handler has been counted as received before it runs', limit, async t => {
  let seen = 0
  const { near, far } = await pair(t, job => {
    assert.equal(far.stats().reply.received, ++seen)
    return job
  })
  await ask(near, 1000)
})

test('bursts of 2,000 requests between sequential ones', limit, async t => {
  const { near } = await pair(t, echo, { concurrency: 10 })
  let done = 0
  for (let round = 0; round < 10; round++) {
    await ask(near, 100)
    const burst = await Promise.all(numbers(2000).map(number => near.request(number)))
    assert.deepEqual(texts(burst), numbers(2000))
    done += 2100
    assert.equal(near.stats().request.done, done)
  }
  await isSettled(near, done)
})

test('a replier that asks another in its handler, which asks the first', limit, async t => {
  const { pipe: one, address: first } = await replier(t)
  const { pipe: two, address: second } = await replier(t)
  const [toOne, toTwo] = [open(t, { request: first }), open(t, { request: second })]
  one.reply(async ([depth]) => Number(depth) === 0 ? 'end' : (await toTwo.request(Number(depth) - 1)).concat('one'), { concurrency: 8 })
  two.reply(async ([depth]) => Number(depth) === 0 ? 'end' : (await toOne.request(Number(depth) - 1)).concat('two'), { concurrency: 8 })
  for (let round = 0; round < 200; round++) {
    const reply = await toOne.request(4)
    assert.deepEqual(asText(reply), ['end', 'two', 'one', 'two', 'one'])
  }
})

// Requests that nobody waits for.

test('requests that are aborted between others are not counted, and their replies come to nobody', limit, async t => {
  const { near } = await pair(t, async ([text]) => {
    await setImmediate()
    return text
  }, { concurrency: 4 })
  await ask(near)
  let [done, aborted] = [WARM, 0]
  for (let round = 0; round < 150; round++) {
    const leaving = new AbortController()
    const given = near.request('aborted', { signal: leaving.signal }).then(() => { done++ }, () => { aborted++ })
    const asked = ask(near, 1)
    for (let turn = round % 5; turn > 0; turn--) await setImmediate()
    leaving.abort(new Error('enough'))
    await Promise.all([given, asked])
    done++
    await ask(near, 3)
    done += 3
  }
  assert.equal(done + aborted, WARM + 5 * 150)
  await until(() => near.stats().request.inFlight === 0)
  // A reply that crosses an abort may have been counted.
  const { done: counted, queued } = near.stats().request
  assert.ok(counted >= done && counted <= done + aborted, `${counted} counted of ${done} and ${aborted}`)
  assert.equal(queued, 0)
  await ask(near)
  assert.equal(near.stats().request.done, counted + WARM)
})

test('requests that time out between others are answered to nobody', limit, async t => {
  const held = []
  const { near } = await pair(t, async job => {
    if (String(job[0]) === 'hold') await new Promise(resolve => held.push(resolve))
    return job
  }, { concurrency: 4 })
  await ask(near)
  let [done, released] = [WARM, 0]
  for (let round = 0; round < 20; round++) {
    const late = assert.rejects(near.request('hold', { timeout: 5 }), code('ERR_ZEROPIPE_TIMEOUT'))
    await ask(near, 10)
    await late
    // Begun with by the time that one behind it is answered, unless the time was up before it was sent.
    await ask(near, 1)
    for (const release of held.splice(0)) {
      release()
      released++
    }
    await ask(near, 19)
    done += 30
  }
  assert.ok(released > 0)
  await isSettled(near, done)
})

test('a handler that throws between others rejects its own request alone', limit, async t => {
  const { near } = await pair(t, ([text]) => {
    if (String(text) === 'bad') throw Object.assign(new Error('on purpose'), { code: 'E_BAD' })
    return text
  })
  await ask(near)
  for (let round = 0; round < 100; round++) {
    await assert.rejects(near.request('bad'), error => error.code === 'E_BAD' && error.message === 'on purpose')
    await ask(near, 9)
    const mixed = await Promise.allSettled([near.request('good'), near.request('bad'), near.request('good')])
    assert.deepEqual(mixed.map(({ status }) => status), ['fulfilled', 'rejected', 'fulfilled'])
  }
  await isSettled(near, WARM + 100 * 13)
})

// Closing, draining.

test('close() of the requester right after a reply, and with some open, resolves', limit, async t => {
  const { pipe: far, address } = await replier(t)
  far.reply(echo)
  for (let round = 0; round < 20; round++) {
    const near = open(t, { request: address })
    await ask(near, 100)
    const open_ = Array.from({ length: round % 4 }, () => ask(near, 1))
    await near.close()
    await Promise.all(open_)
    assert.equal(near.stats().request.done, 100 + round % 4)
  }
  await until(() => far.stats().reply.peers.length === 0)
})

test('close() of the replier in the middle: what it has begun with is answered, the rest by another', limit, async t => {
  const { pipe: near, address } = await requester(t)
  let far = open(t, { reply: { connect: address } })
  far.reply(echo)
  for (let round = 0; round < 12; round++) {
    await ask(near, 100)
    const asked = Array.from({ length: 1 + round % 4 }, () => ask(near, 30))
    for (let turn = round % 7; turn > 0; turn--) await setImmediate()
    const closed = far.close()
    far = open(t, { reply: { connect: address } })
    far.reply(echo)
    await Promise.all(asked)
    await closed
  }
  await isSettled(near, 12 * 100 + 3 * 30 * (1 + 2 + 3 + 4))
})

test('drain() right after a job resolves, again and again', limit, async t => {
  const { pipe: far, address } = await puller(t)
  const got = []
  far.pull(([text]) => { got.push(String(text)) })
  const near = open(t, { push: { connect: address } })
  for (const number of numbers(500)) {
    await near.push(number)
    await near.drain()
    assert.equal(got.length, Number(number) + 1)
    assert.equal(near.stats().push.done, got.length)
  }
  assert.deepEqual(got, numbers(500))
})

// Pull loops.

/** Jobs as they come: whoever adds to `got` calls `look`; `reached(count)` resolves as soon as there are so many. */
function arrivals () {
  const got = []
  let check = () => {}
  return {
    got,
    look: () => check(),
    reached: count => new Promise(resolve => {
      check = () => { if (got.length === count) resolve() }
      check()
    })
  }
}

/** Pushes one after the other, each when the one before has come. */
function pingPong (near) {
  const wanted = new Map()
  let next = 0
  return {
    came: text => wanted.get(text)?.open(),
    go: async count => {
      for (; count > 0; count--) {
        const text = `job ${next++}`
        wanted.set(text, gate())
        await near.push(text)
        await wanted.get(text).passed
        wanted.delete(text)
      }
    }
  }
}

for (const [name, place] of Object.entries(PLACES)) {
  test(`a loop that is left with jobs before it gives them to the next one in order (${name})`, limit, async t => {
    const { pipe: far, address } = await puller(t, {}, place())
    const near = open(t, { push: { connect: address } })
    const got = []
    let isOver = false
    let waiter = gate()
    const looping = (async () => {
      for (let stop = 1; !isOver; stop = 1 + (stop * 7) % 23) {
        let count = 0
        for await (const [text] of far.pull()) {
          got.push(Number(text))
          waiter.open()
          if (++count === stop || got.length === 3000) break
        }
        if (got.length === 3000) isOver = true
      }
    })()
    let next = 0
    while (next < 3000) {
      // One after the other, and now and then a few at once.
      const few = Math.min(next % 100 < 50 ? 1 : 1 + next % 9, 3000 - next)
      for (let count = few; count > 0; count--) await near.push(next++)
      while (got.length < next) {
        waiter = gate()
        if (got.length < next) await waiter.passed
      }
    }
    await looping
    assert.deepEqual(got, numbers(3000).map(Number))
    await near.drain()
    const { queued, inFlight, done } = near.stats().push
    assert.deepEqual({ queued, inFlight, done }, { queued: 0, inFlight: 0, done: 3000 })
  })

  test(`bursts of 10,000 jobs in the middle of a ping-pong come in order (${name})`, limit, async t => {
    const { pipe: far, address } = await puller(t, {}, place())
    const near = open(t, { push: { connect: address } })
    const got = []
    const goal = { count: Infinity, reached: gate() }
    ;(async () => {
      for await (const [text] of far.pull()) {
        got.push(Number(text))
        if (got.length === goal.count) goal.reached.open()
      }
    })()
    let next = 0
    const send = async count => {
      Object.assign(goal, { count: next + count, reached: gate() })
      for (; count > 0; count--) await near.push(next++)
      await goal.reached.passed
    }
    for (let round = 0; round < 2; round++) {
      for (let one = 0; one < 150; one++) await send(1)
      await send(10_000)
      for (let one = 0; one < 150; one++) await send(1)
      await send(7)
    }
    await near.drain()
    assert.deepEqual(got, numbers(next).map(Number))
    assert.equal(near.stats().push.done, next)
    assert.equal(far.stats().pull.received, next)
  })

  test(`a second loop, and a second pusher, come and go in the middle of a ping-pong, and nothing is lost or done twice (${name})`, limit, async t => {
    const { pipe: far, address } = await puller(t, {}, place())
    const near = open(t, { push: { connect: address } })
    const all = []
    const play = pingPong(near)
    const take = async job => {
      all.push(String(job[0]))
      play.came(String(job[0]))
    }
    ;(async () => { for await (const job of far.pull()) take(job) })()
    let others = 0
    for (let round = 0; round < 15; round++) {
      await play.go(80)
      const leaving = new AbortController()
      const second = (async () => { for await (const job of far.pull({ signal: leaving.signal })) take(job) })()
      await play.go(40)
      const guest = open(t, { push: { connect: address } })
      for (let count = 0; count < 40; count++) await guest.push(`other ${others++}`)
      await Promise.all([play.go(40), guest.close()])
      leaving.abort(new Error('enough'))
      await assert.rejects(second, /enough/)
    }
    await near.drain()
    await until(() => all.length === 15 * 200)
    assert.equal(new Set(all).size, all.length)
  })
}

test('a loop whose pusher restarts in the middle misses nothing', limit, async t => {
  const { pipe: far, address } = await puller(t)
  const got = []
  ;(async () => { for await (const [text] of far.pull()) got.push(String(text)) })()
  for (let round = 0; round < 3; round++) {
    const pushing = worker(t, address, `
      for (let i = 0; i < 400; i++) {
        await push('${round}-' + i)
        await drain()
      }
      for (let i = 400; i < 450; i++) await push('${round}-' + i)
      await drain()
      say('delivered')
      process.kill(process.pid, 'SIGKILL')
    `, {}, 'push')
    await pushing.heard('delivered')
    await pushing.ended
    assert.deepEqual(got.splice(0), numbers(450).map(number => `${round}-${number}`))
  }
})

test('a puller whose connection is reset in the middle by the pusher is dialled again, and gets every job', limit, async t => {
  const { pipe: far, address } = await puller(t)
  const got = []
  ;(async () => { for await (const [text] of far.pull()) got.push(String(text)) })()
  for (let round = 0; round < 10; round++) {
    const raw = await dialPush(t, address)
    for (let count = 0; count < 150; count++) {
      await raw.pushWhenGranted(`${round} ${count}`)
      await raw.when(() => raw.acked.length === count + 1)
    }
    raw.push('cut')
    if (round % 2 === 0) raw.peer.reset()
    else raw.peer.end()
    await until(() => far.stats().pull.peers.length === 0)
  }
  const counted = got.filter(text => text !== 'cut')
  assert.deepEqual(counted, numbers(10).flatMap(round => numbers(150).map(count => `${round} ${count}`)))
})

test('close({ linger: 0 }) right after the last reply gives nothing up', limit, async t => {
  const { pipe: far, address } = await replier(t)
  far.reply(echo)
  const warnings = []
  const listener = warning => warnings.push(warning)
  process.on('warning', listener)
  t.after(() => process.off('warning', listener))
  for (let round = 0; round < 30; round++) {
    const near = open(t, { request: address })
    await ask(near, 60 + round)
    await near.close({ linger: 0 })
    assert.equal(near.stats().request.done, 60 + round)
  }
  await setImmediate()
  assert.deepEqual(warnings, [])
})

test('a listener that throws, and a reply that nobody catches, do what they do elsewhere', limit, async t => {
  const { pipe: far, address } = await replier(t)
  far.reply(job => {
    if (String(job[0]) === 'bad') throw new Error('on purpose')
    return job
  })
  const { ended } = program(t, `
    import { pipe } from 'zeropipe'
    const { request } = pipe({ request: ${JSON.stringify(address)} })
    const caught = []
    // A rejection that nobody handles is an uncaught error in Node, and in other runtimes it is not.
    for (const name of ['uncaughtException', 'unhandledRejection']) process.on(name, error => caught.push(error.message))
    for (let i = 0; i < 300; i++) {
      await request(i)
      if (i % 50 === 25) request(i).then(() => { throw new Error('thrown ' + i) })
      if (i % 50 === 35) request('bad')
    }
    // What is open keeps the process alive.
    process.on('exit', () => console.log(caught.length))
  `)
  const { code, signal, stdout, stderr } = await ended
  assert.deepEqual({ code, signal, stdout, stderr }, { code: 0, signal: null, stdout: '12\n', stderr: '' })
})

test('a pipe that is closed in its handler, and in the reply to its request, between others, again and again', limit, async t => {
  for (let round = 0; round < 15; round++) {
    const { pipe: near, address } = await requester(t)
    const far = open(t, { reply: { connect: address } })
    let closed
    far.reply(job => {
      if (String(job[0]) === 'close') closed = far.close()
      return job
    })
    await ask(near, 60)
    const reply = near.request('close').then(async reply => {
      await near.close()
      return reply
    })
    assert.deepEqual(texts([await reply]), ['close'])
    await closed
  }
})

for (const [what, options] of [['in batches', { batch: 10 }], ['with a fixed prefetch', { prefetch: 3 }], ['in batches with a prefetch', { batch: 5, prefetch: 20 }]]) {
  test(`a loop that pulls ${what} gets every job in order, one after the other and many at a time`, limit, async t => {
    const { pipe: far, address } = await puller(t)
    const near = open(t, { push: { connect: address } })
    const { got, look, reached } = arrivals()
    ;(async () => {
      for await (const some of far.pull(options)) {
        for (const [text] of options.batch === undefined ? [some] : some) got.push(Number(text))
        look()
      }
    })()
    let next = 0
    while (next < 8000) {
      for (let count = next % 1000 < 200 ? 1 : 200; count > 0; count--) await near.push(next++)
      await reached(next)
    }
    await near.drain()
    assert.deepEqual(got, numbers(next).map(Number))
    assert.equal(near.stats().push.done, next)
  })
}

test('jobs that a handler rejects between others are tried again, and nothing else is done twice', limit, async t => {
  const { pipe: far, address } = await puller(t)
  const near = open(t, { push: { connect: address } })
  const done = new Map()
  const play = pingPong(near)
  far.pull(([text], { attempt }) => {
    if (String(text).startsWith('bad') && attempt === 1) throw new Error('on purpose')
    done.set(String(text), (done.get(String(text)) ?? 0) + 1)
    play.came(String(text))
  }, { concurrency: 2 })
  for (let round = 0; round < 20; round++) {
    await play.go(30)
    await near.push(`bad ${round}`)
  }
  await near.drain()
  assert.equal(done.size, 620)
  assert.ok([...done.values()].every(times => times === 1))
  assert.equal(near.stats().push.redelivered, 20)
})

test('a slow loop body: what waits before it is given back and comes again in order', limit, async t => {
  const { pipe: far, address } = await puller(t)
  const near = open(t, { push: { connect: address } })
  const { got, look, reached } = arrivals()
  ;(async () => {
    for await (const [text] of far.pull()) {
      got.push(Number(text))
      // Longer than a consumer may stand still before it counts as stalled, while its thread is free.
      if (Number(text) % 300 === 250) await new Promise(resolve => setTimeout(resolve, 150))
      look()
    }
  })()
  let next = 0
  while (next < 1500) {
    const few = next % 300 >= 245 && next % 300 < 260 ? 10 : 1
    for (let count = few; count > 0; count--) await near.push(next++)
    await reached(next)
  }
  await near.drain()
  assert.deepEqual(got, numbers(next).map(Number))
})
