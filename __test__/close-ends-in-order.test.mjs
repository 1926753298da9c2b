import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pipe as makePipe } from '../index.js'
import { warning } from './helpers/happening.mjs'
import { open } from './helpers/open.mjs'
import { inprocPlace, ipcPlace } from './helpers/place.mjs'
import { program } from './helpers/program.mjs'
import { standing, turns } from './helpers/settle.mjs'
import { numbers, take, texts } from './helpers/take.mjs'

const limit = { timeout: 10_000 }
const closed = { name: 'Error', code: 'ERR_ZEROPIPE_CLOSED' }
const done = { value: undefined, done: true }

test('later pushes reject, earlier ones that wait are still taken and delivered', limit, async t => {
  const place = ipcPlace()
  const pipe = open(t, { push: place, highWaterMark: { messages: 2 } })
  const pushes = numbers(10).map(number => pipe.push(number))
  await pipe.ready()
  const closing = pipe.close()
  await assert.rejects(pipe.push('late'), closed)
  await assert.rejects(pipe.push(['late', 'too']), closed)
  assert.deepEqual(await standing(closing), ['pending'])

  const received = await take(open(t, { pull: place }), 10)

  await Promise.all(pushes)
  assert.equal(await closing, undefined)
  assert.deepEqual(texts(received), numbers(10))
  await assert.rejects(pipe.push('very late'), error => {
    assert.equal(error.code, closed.code)
    assert.ok(error.message.includes(place), error.message)
    return true
  })
})

test('pushes made before the end is open are delivered by close', limit, async t => {
  const place = inprocPlace()
  const pipe = open(t, { push: place })
  const pushed = pipe.push('early')
  const closing = pipe.close()
  assert.deepEqual(texts(await take(open(t, { pull: place }), 1)), ['early'])
  await Promise.all([pushed, closing])
})

test('closing twice, or at the same time, is no mistake', limit, async () => {
  const pipe = makePipe(inprocPlace())
  await pipe.push('job')
  await take(pipe, 1)
  const both = [pipe.close(), pipe.close(), pipe.close({ linger: 10 })]
  assert.deepEqual(await Promise.all(both), [undefined, undefined, undefined])
  assert.equal(await pipe.close(), undefined)
})

test('a pipe that was never used can be closed, and is closed then', limit, async () => {
  const pipe = makePipe(inprocPlace())
  await pipe.close()
  await assert.rejects(pipe.push('late'), closed)
})

test('a loop ends normally, whether it waits or works', limit, async t => {
  const pipe = open(t, inprocPlace())
  const waiting = pipe.pull()
  const next = [waiting.next(), waiting.next()]
  await pipe.ready()
  await standing(...next)
  await pipe.close()
  assert.deepEqual(await Promise.all(next), [done, done])
  assert.deepEqual(await waiting.next(), done)
})

test('close can be called and awaited inside a loop body', limit, async t => {
  const pipe = open(t, inprocPlace())
  await pipe.push('only')
  const jobs = []
  for await (const job of pipe.pull()) {
    jobs.push(job)
    await pipe.close()
  }
  assert.deepEqual(texts(jobs), ['only'])
})

test('close can be called and awaited inside a handler', limit, async t => {
  const pipe = open(t, inprocPlace())
  await pipe.push('only')
  const jobs = []
  await pipe.pull(async job => {
    jobs.push(job)
    await pipe.close()
  })
  assert.deepEqual(texts(jobs), ['only'])
})

for (const place of ['tcp://127.0.0.1:*', inprocPlace()]) {
  test(`while the push end drains, loops of the same pipe go on until they have done it all (${place.slice(0, 3)})`, limit, async t => {
    const pipe = open(t, place)
    const jobs = []
    const looping = (async () => {
      for await (const job of pipe.pull()) jobs.push(job)
    })()
    await pipe.ready({ pullers: 1, pushers: 1 })
    const warnings = []
    const note = warning => warnings.push(warning)
    process.on('warning', note)
    t.after(() => process.off('warning', note))
    const pushes = numbers(1000).map(number => pipe.push(number))
    await pipe.close()

    await Promise.all(pushes)
    await looping
    await turns()
    assert.deepEqual(texts(jobs), numbers(1000))
    assert.deepEqual(warnings, [])
  })

  test(`without flow they go on while it drains, and what they had not begun with is told of (${place.slice(0, 3)})`, limit, async t => {
    const { ended } = program(t, `
      import { pipe } from 'zeropipe'
      const own = pipe(${JSON.stringify(place)})
      const jobs = []
      const looping = (async () => {
        for await (const [job] of own.pull()) jobs.push(job.toString())
      })()
      await own.ready({ pullers: 1, pushers: 1 })
      let dropped = 0
      process.on('warning', ({ code, message }) => { if (code === 'ZEROPIPE_GAVE_UP') dropped += Number(message.match(/\\d+/)[0]) })
      const pushes = Array.from({ length: 1000 }, (_, i) => own.push(i))
      await own.close()
      await Promise.all(pushes)
      await looping
      process.on('exit', () => console.log(JSON.stringify({ jobs, dropped })))
    `, { env: { ZEROPIPE_FLOW: 'off' } })
    const { code, stdout, stderr } = await ended
    assert.equal(code, 0, stderr)
    const { jobs, dropped } = JSON.parse(stdout)
    assert.deepEqual(jobs, numbers(jobs.length))
    // What was still on its way between the two ends nobody can count.
    assert.ok(jobs.length + dropped <= 1000, `${jobs.length} taken, ${dropped} dropped`)
  })
}

test('linger bounds the close, and what it gave up is a warning with the number of jobs', limit, async () => {
  const place = inprocPlace()
  const pipe = makePipe({ push: place })
  for (const number of numbers(7)) await pipe.push(number)
  const warned = warning('ZEROPIPE_GAVE_UP')
  await pipe.close({ linger: 20 })
  const { name, message } = await warned
  assert.equal(name, 'ZeropipeWarning')
  assert.match(message, /\b7\b/)
  assert.ok(message.includes(place), message)
})

test('the pipe option linger bounds the close too', limit, async () => {
  const pipe = makePipe({ push: inprocPlace(), linger: 0 })
  await pipe.push('given up')
  const warned = warning('ZEROPIPE_GAVE_UP')
  await pipe.close()
  assert.match((await warned).message, /\b1\b/)
})

test('a later close with a shorter linger cuts the first short', limit, async () => {
  const pipe = makePipe({ push: inprocPlace() })
  await pipe.push('given up')
  const patient = pipe.close()
  assert.deepEqual(await standing(patient), ['pending'])
  const warned = warning('ZEROPIPE_GAVE_UP')
  await pipe.close({ linger: 0 })
  await patient
  await warned
})

test('a shorter linger cuts a close short that still lets pushes in', limit, async () => {
  const pipe = makePipe({ push: inprocPlace(), highWaterMark: { messages: 1 } })
  await pipe.push('given up')
  const waiting = pipe.push('never accepted')
  const refused = assert.rejects(waiting, closed)
  const patient = pipe.close()
  assert.deepEqual(await standing(patient, waiting), ['pending', 'pending'])
  const warned = warning('ZEROPIPE_GAVE_UP')
  await pipe.close({ linger: 0 })
  await Promise.all([patient, refused])
  assert.match((await warned).message, /\b1\b/)
})

test('after the close every call says so, whichever end was open', limit, async () => {
  for (const use of [() => {}, pipe => pipe.push('job'), pipe => pipe.ready()]) {
    const pipe = makePipe(inprocPlace())
    await use(pipe)
    await pipe.close({ linger: 0 })
    await assert.rejects(pipe.push('late'), closed)
    await assert.rejects(pipe.push(['late'], {}), closed)
    await assert.rejects(pipe.ready(), closed)
    // There is nothing to deliver any more, so to say yes is right as well.
    await pipe.drain().catch(error => assert.equal(error.code, closed.code))
    await pipe.close()
    await pipe.close({ linger: 5 })
  }
})

test('a push that waits when linger runs out rejects', limit, async () => {
  const pipe = makePipe({ push: inprocPlace(), highWaterMark: { messages: 1 } })
  await pipe.push('1')
  const waiting = pipe.push('2')
  await standing(waiting)
  const refused = assert.rejects(waiting, closed)
  await pipe.close({ linger: 0 })
  await refused
})

test('Symbol.asyncDispose closes', limit, async t => {
  const place = inprocPlace()
  const pipe = open(t, { push: place })
  await pipe.push('job')
  const disposing = pipe[Symbol.asyncDispose]()
  assert.deepEqual(texts(await take(open(t, { pull: place }), 1)), ['job'])
  assert.equal(await disposing, undefined)
  await assert.rejects(pipe.push('late'), closed)
})

test('an address is free again once close has resolved', limit, async t => {
  for (const place of ['tcp://127.0.0.1:*', ipcPlace(), inprocPlace()]) {
    const first = makePipe({ push: place })
    await first.ready()
    const [address] = first.stats().push.bound
    await first.close()
    const second = open(t, { push: address })
    await second.ready()
    assert.deepEqual(second.stats().push.bound, [address])
  }
})
