import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pusher } from './helpers/ends.mjs'
import { happening } from './helpers/happening.mjs'
import { open } from './helpers/open.mjs'
import { inprocPlace } from './helpers/place.mjs'
import { turns } from './helpers/settle.mjs'
import { numbers } from './helpers/take.mjs'
import { until } from './helpers/until.mjs'
import { loop, worker } from './helpers/worker.mjs'

const limit = { timeout: 30_000 }

/** What is said from now on of jobs that were given up. */
function gaveUp (t) {
  const warnings = []
  const note = warning => { if (warning.code === 'ZEROPIPE_GAVE_UP') warnings.push(warning.message) }
  process.on('warning', note)
  t.after(() => process.off('warning', note))
  return warnings
}

/** The two ways to work on jobs: `body(text)` for each. Resolves when the pipe is closed. */
const forms = {
  'a loop body': async (pipe, body) => {
    for await (const [message] of pipe.pull()) await body(message.toString())
  },
  'a handler': (pipe, body) => pipe.pull(([message]) => body(message.toString()))
}

for (const [form, work] of Object.entries(forms)) {
  for (const place of ['tcp://127.0.0.1:*', inprocPlace()]) {
    const where = `${form} (${place.slice(0, 3)})`

    test(`a pipe that feeds itself, closed inside ${where} with the last job`, limit, async t => {
      const warnings = gaveUp(t)
      const pipe = open(t, place)
      await pipe.push('only')
      const jobs = []
      await work(pipe, async text => {
        jobs.push(text)
        await pipe.close()
        jobs.push('closed')
      })
      assert.deepEqual(jobs, ['only', 'closed'])
      await turns()
      assert.deepEqual(warnings, [])
    })

    test(`a pipe that feeds itself, closed inside ${where} with more jobs queued: its own loops do them all`, limit, async t => {
      const warnings = gaveUp(t)
      const pipe = open(t, place)
      for (const number of numbers(100)) await pipe.push(number)
      const jobs = []
      let closing
      await work(pipe, async text => {
        jobs.push(text)
        // Not awaited: the rest is for this very loop.
        if (text === '10') closing = pipe.close()
      })
      await closing
      await turns()
      assert.deepEqual(jobs, numbers(100))
      assert.deepEqual(warnings, [])
    })

    test(`a pipe that feeds itself, closed and awaited inside ${where}: another loop does the rest`, limit, async t => {
      const warnings = gaveUp(t)
      const pipe = open(t, place)
      for (const number of numbers(100)) await pipe.push(number)
      const jobs = []
      let others = null
      await work(pipe, async text => {
        jobs.push(text)
        if (text !== '10') return
        others = (async () => {
          for await (const [message] of pipe.pull()) jobs.push(message.toString())
        })()
        await pipe.close()
        jobs.push('closed')
      })
      await others
      await turns()
      assert.ok(jobs.includes('closed'))
      assert.deepEqual(jobs.filter(text => text !== 'closed').sort((a, b) => a - b), numbers(100))
      assert.deepEqual(warnings, [])
    })
  }

  test(`a worker closed inside ${form}: the job in hand is acknowledged when its body ends, and the connection stays until then`, limit, async t => {
    const { pipe, address } = await pusher(t)
    const own = open(t, { pull: address })
    for (const number of numbers(10)) await pipe.push(number)
    let go
    let closed = false
    const working = work(own, async text => {
      assert.equal(text, '0')
      await own.close()
      closed = true
      await new Promise(resolve => { go = resolve })
    })
    await until(() => closed)
    const left = happening(pipe, 'leave')

    const jobs = []
    for await (const [message] of open(t, { pull: address }).pull()) {
      jobs.push(message.toString())
      if (jobs.length === 9) break
    }
    assert.deepEqual(jobs, numbers(10).slice(1))
    await until(() => pipe.stats().push.done === 9)
    assert.deepEqual([pipe.stats().push.inFlight, pipe.stats().push.peers.length], [1, 2])
    go()
    await working
    await pipe.drain()
    await left
    assert.deepEqual([pipe.stats().push.done, pipe.stats().push.redelivered], [10, 0])
  })

  test(`a process that closes inside ${form} ends with code 0 once the body does, and has done its job`, limit, async t => {
    const { pipe, address } = await pusher(t)
    for (const number of numbers(5)) await pipe.push(number)
    const body = "if (text === '2') { await close(); say('closed'); await order('go') }"
    const first = worker(t, address, form === 'a handler'
      ? `await pull(async (job, info) => { const text = begin({ job, ...info }); ${body}; finish(text) })`
      : loop(body))
    await first.heard('closed')
    const second = worker(t, address, loop())
    await until(() => second.finished.length === 2)
    first.tell('go')
    const { code, stderr } = await first.ended
    assert.deepEqual([code, stderr], [0, ''])
    await pipe.drain()
    assert.deepEqual(first.finished, numbers(3))
    assert.deepEqual(second.begun.map(({ text, attempt }) => `${text}:${attempt}`), ['3:1', '4:1'])
  })
}

test('a worker that closes while handlers run: each is acknowledged when it settles, one that rejects comes again elsewhere', limit, async t => {
  const { pipe, address } = await pusher(t)
  const own = open(t, { pull: address })
  const running = new Map()
  const handling = own.pull(([message]) => new Promise((resolve, reject) => {
    running.set(message.toString(), { resolve, reject })
  }), { concurrency: 3 })
  for (const number of numbers(3)) await pipe.push(number)
  await until(() => running.size === 3)
  await own.close()
  running.get('0').resolve()
  await until(() => pipe.stats().push.done === 1)
  assert.equal(pipe.stats().push.inFlight, 2)
  running.get('1').reject(new Error('not done'))
  const other = open(t, { pull: address }).pull({ info: true })
  const { value } = await other.next()
  assert.deepEqual([value.job[0].toString(), value.attempt], ['1', 2])
  await other.return()
  running.get('2').resolve()
  await handling
  await pipe.drain()
  assert.deepEqual([pipe.stats().push.done, pipe.stats().push.redelivered], [3, 1])
})

test('a worker that closes with a batch in hand: the batch is done when the next is asked for', limit, async t => {
  const { pipe, address } = await pusher(t)
  const own = open(t, { pull: address })
  const batches = own.pull({ batch: 10 })
  const asked = batches.next()
  for (const number of numbers(10)) await pipe.push(number)
  const { value: batch } = await asked
  await own.close()
  const rest = []
  const other = open(t, { pull: address })
  for (let left = 10 - batch.length; left > 0; left--) {
    const loop = other.pull()
    rest.push((await loop.next()).value)
    await loop.return()
  }
  await until(() => pipe.stats().push.done === rest.length)
  assert.equal(pipe.stats().push.inFlight, batch.length)
  assert.deepEqual(await batches.next(), { value: undefined, done: true })
  await pipe.drain()
  assert.equal(pipe.stats().push.redelivered, 0)
})
