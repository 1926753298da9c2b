// Pushes that nobody awaits, by the hundred thousand: before the end is open, and while the queue
// is full.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { test } from 'node:test'
import { open } from './helpers/open.mjs'
import { growth } from './helpers/growth.mjs'
import { happening } from './helpers/happening.mjs'
import { inprocPlace } from './helpers/place.mjs'
import { program } from './helpers/program.mjs'
import { standing, turns } from './helpers/settle.mjs'
import { numbers, take, texts } from './helpers/take.mjs'

const limit = { timeout: 60_000 }
const MANY = 200_000

/** A push end with no worker, and a worker for later. */
function lonely (t, highWaterMark, place = inprocPlace()) {
  return { pipe: open(t, { push: place, highWaterMark }), hire: () => open(t, { pull: place }) }
}

/** How many of some promises have fulfilled so far. */
function countFulfilled (promises) {
  const count = { now: 0 }
  for (const promise of promises) promise.then(() => count.now++, () => {})
  return count
}

/** How many jobs a push end has accepted, ever. */
function accepted ({ queued, inFlight, done }) {
  return queued + inFlight + done
}

const marks = { 'before the end is open': 2 * MANY, 'at a queue of a thousand jobs': 1000 }
for (const [where, messages] of Object.entries(marks)) {
  test(`${MANY} pushes in one tick ${where} take little more memory than their bytes`, limit, async t => {
    const { pipe } = lonely(t, { messages })
    await open(t, inprocPlace()).push('what loads all parts')
    const isWithin = await growth()
    let last
    for (let i = 0; i < MANY; i++) {
      const push = pipe.push(`job number ${i}`)
      // The pipe is closed at the end, which is to bother nobody.
      if (push !== last) (last = push).catch(() => {})
    }

    await isWithin(60) // 5 MiB of text in V8, packed twice; a promise for each takes 400

    assert.equal(pipe.stats().push.queued, Math.min(MANY, messages))
  })

  test(`pushes in one tick ${where} arrive in order, whatever their kinds`, limit, async t => {
    const { pipe, hire } = lonely(t, { messages })
    const { signal } = new AbortController()
    const kinds = [
      text => pipe.push(text),
      text => pipe.push(Buffer.from(text)),
      text => pipe.push([text, 'a second frame']),
      text => pipe.push(Number(text)),
      text => pipe.push(new TextEncoder().encode(text).buffer),
      text => pipe.push([text, Buffer.alloc(5_000)]),
      text => pipe.push(text, { signal }),
      text => pipe.push([text, 'żółw €'.repeat(100), null]),
      text => pipe.push([text, ...Array(Number(text) % 997 === 0 ? 1000 : 1).fill('x')])
    ]
    const pushes = numbers(20_000).map(number => kinds[number % kinds.length](number))

    const received = await take(hire(), pushes.length)

    await Promise.all(pushes)
    assert.deepEqual(texts(received), numbers(20_000))
    assert.deepEqual([...received.slice(0, 9), received[4985]].map(job => job.length), [1, 1, 2, 1, 1, 2, 1, 3, 2, 1001])
    assert.equal(received[7][1].toString(), 'żółw €'.repeat(100))
    assert.equal(received[5][1].length, 5_000)
  })
}

test('no push resolves before its job is accepted, and none waits for more than a 64th of the mark behind it', limit, async t => {
  const { pipe, hire } = lonely(t, { messages: 1000 })
  const pushes = numbers(20_000).map(number => pipe.push(number))
  const fulfilled = countFulfilled(pushes)
  const look = () => {
    const now = accepted(pipe.stats().push)
    assert.ok(fulfilled.now <= now, `${fulfilled.now} have resolved of ${now} that are accepted`)
    // One more batch may have been accepted whose promises settle in a moment.
    assert.ok(fulfilled.now >= now - 16, `${fulfilled.now} have resolved of ${now} that are accepted`)
  }
  await happening(pipe, 'listening')
  await turns()
  assert.equal(accepted(pipe.stats().push), 1000)
  look()
  for await (const [text] of hire().pull({ prefetch: 0 })) {
    if (Number(text) === pushes.length - 1) break
    if (Number(text) % 997 !== 0) continue
    await turns()
    look()
  }
  await Promise.all(pushes)
})

test('of a few pushes that wait, each resolves when its own job is accepted', limit, async t => {
  const { pipe, hire } = lonely(t, { messages: 64 * 50 })
  await Promise.all(numbers(64 * 50).map(number => pipe.push(number)))
  const waiting = numbers(50).map(number => pipe.push(number))
  const fulfilled = countFulfilled(waiting)
  const worker = hire().pull({ prefetch: 0 })
  for (let taken = 1; taken <= 20; taken++) {
    await worker.next()
    await turns()
    assert.equal(64 * 50 + fulfilled.now, accepted(pipe.stats().push))
  }
})

test('a bind that fails rejects all that wait with its reason and leaves nothing queued', limit, async t => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = `tcp://127.0.0.1:${server.address().port}`
  const pipe = open(t, { push: address })
  const outcomes = await Promise.allSettled(numbers(10_000).map(number => pipe.push(number)))
  assert.deepEqual(new Set(outcomes.map(({ reason }) => reason?.code)), new Set(['EADDRINUSE']))
  assert.equal(pipe.stats().push.queued, 0)

  await new Promise(resolve => server.close(resolve))
  await pipe.push('kept')
  assert.deepEqual(texts(await take(open(t, { pull: address }), 1)), ['kept'])
})

test('what can not be a job, or is too large, is refused among those that wait, and holds up none', limit, async t => {
  const place = inprocPlace()
  const pipe = open(t, { push: place, maxMessageSize: 100, highWaterMark: { messages: 10 } })
  const jobs = numbers(3_000).map(number => number % 7 === 3 ? 'x'.repeat(101) : number % 7 === 5 ? {} : number)
  const outcomes = Promise.allSettled(jobs.map(job => pipe.push(job)))
  const good = jobs.filter(job => String(job).length < 10)

  assert.deepEqual(texts(await take(open(t, { pull: place }), good.length)), good)

  const codes = (await outcomes).map(({ reason }) => reason?.code)
  const wanted = { 3: 'ERR_ZEROPIPE_MESSAGE_TOO_LARGE', 5: 'ERR_ZEROPIPE_INVALID_JOB' }
  assert.deepEqual(codes, jobs.map((_, index) => wanted[index % 7]))
})

test('pushes that are aborted among those that wait are taken out, in whatever order', limit, async t => {
  const { pipe, hire } = lonely(t, { messages: 10 })
  const controllers = numbers(300).map(() => new AbortController())
  const pushes = numbers(3_000).map(number => pipe.push(number, number % 10 === 5 ? { signal: controllers[(number - 5) / 10].signal } : undefined))
  const settled = Promise.allSettled(pushes)
  await happening(pipe, 'listening')
  await turns()
  const isAborted = number => number % 10 === 5 && number > 10
  for (const controller of controllers.slice(1).reverse()) controller.abort()

  const wanted = numbers(3_000).filter(number => !isAborted(number))
  assert.deepEqual(texts(await take(hire(), wanted.length)), wanted)
  ;(await settled).forEach(({ reason }, number) => assert.equal(reason?.name, isAborted(number) ? 'AbortError' : undefined))
})

test('drain waits for all that wait when it is called', limit, async t => {
  const { pipe, hire } = lonely(t, { messages: 10 })
  for (let i = 0; i < 5_000; i++) pipe.push(i)
  const drained = pipe.drain()
  pipe.push('behind').catch(() => {})
  const loop = hire().pull({ prefetch: 0 })
  for (let i = 0; i < 5_000; i++) assert.equal(String((await loop.next()).value), String(i))
  assert.deepEqual(await standing(drained), ['pending'])
  await loop.next()
  await drained
})

test('close takes all that wait, and with a linger of 0 rejects them', limit, async t => {
  const kept = lonely(t, { messages: 10 })
  const taken = numbers(5_000).map(number => kept.pipe.push(number))
  const closed = kept.pipe.close()
  assert.deepEqual(texts(await take(kept.hire(), 5_000)), numbers(5_000))
  await Promise.all([...taken, closed])

  const lost = lonely(t, { messages: 10 })
  const waiting = numbers(5_000).map(number => lost.pipe.push(number))
  await waiting[9]
  await Promise.all([
    ...waiting.slice(10).map(push => assert.rejects(push, { code: 'ERR_ZEROPIPE_CLOSED' })),
    lost.pipe.close({ linger: 0 })
  ])
})

test('pushes that wait, and that nobody looks at, keep the process and arrive; refused, they are rejections that nobody handled', limit, async t => {
  const place = 'tcp://127.0.0.1:*'
  const text = `
    import { pipe } from 'zeropipe'
    const rejected = []
    process.on('unhandledRejection', ({ code }) => rejected.push(code))
    process.on('exit', () => console.log(JSON.stringify(rejected)))
    const own = pipe({ push: process.env.PLACE, highWaterMark: { messages: 10 } })
    for (let i = 0; i < 50; i++) own.push(i)
  `
  const worker = open(t, { pull: { bind: place } })
  await worker.ready()
  const refusing = program(t, text, { env: { PLACE: 'ipc:///no/such/directory/socket' } })
  const { stdout } = await refusing.ended
  assert.deepEqual(new Set(JSON.parse(stdout)), new Set(['ENOENT']))

  const sending = program(t, text.replace('push: process.env.PLACE', 'push: { connect: process.env.PLACE }'), { env: { PLACE: worker.stats().pull.bound[0] } })
  assert.deepEqual(texts(await take(worker, 50)), numbers(50))
  assert.deepEqual(await sending.ended, { code: 0, signal: null, stdout: '[]\n', stderr: '' })
})
