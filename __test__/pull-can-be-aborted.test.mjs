import assert from 'node:assert/strict'
import { test } from 'node:test'
import { open } from './helpers/open.mjs'
import { inprocPlace } from './helpers/place.mjs'
import { standing } from './helpers/settle.mjs'
import { numbers, take, texts } from './helpers/take.mjs'

const limit = { timeout: 30_000 }
const done = { value: undefined, done: true }

test('a loop that waits rejects with the reason, and is over', limit, async t => {
  const pipe = open(t, inprocPlace())
  const controller = new AbortController()
  const iterator = pipe.pull({ signal: controller.signal })
  const waiting = [iterator.next(), iterator.next()]
  assert.deepEqual(await standing(...waiting), ['pending', 'pending'])
  const reason = new Error('enough')
  controller.abort(reason)

  for (const next of waiting) await assert.rejects(next, error => error === reason)
  assert.deepEqual(await iterator.next(), done)
})

test('for await throws the reason', limit, async t => {
  const pipe = open(t, inprocPlace())
  const controller = new AbortController()
  const jobs = []
  const loop = (async () => {
    for await (const job of pipe.pull({ signal: controller.signal })) {
      jobs.push(job)
      if (jobs.length === 3) setImmediate(() => controller.abort())
    }
  })()
  for (const number of numbers(3)) await pipe.push(number)

  await assert.rejects(loop, { name: 'AbortError' })
  assert.deepEqual(texts(jobs), numbers(3))
})

test('a loop that is aborted in its body throws at its next step, and the jobs at hand go to another', limit, async t => {
  const pipe = open(t, inprocPlace())
  for (const number of numbers(100)) await pipe.push(number)
  const controller = new AbortController()
  const jobs = []
  const loop = (async () => {
    for await (const job of pipe.pull({ signal: controller.signal })) {
      jobs.push(job)
      if (jobs.length === 10) controller.abort()
    }
  })()
  await assert.rejects(loop, { name: 'AbortError' })
  assert.equal(jobs.length, 10)

  jobs.push(...await take(pipe, 90))
  assert.deepEqual(texts(jobs), numbers(100))
})

test('a signal that is already aborted rejects the first next and opens nothing', limit, async t => {
  const pipe = open(t, { pull: { bind: inprocPlace() } })
  const reason = new Error('not today')
  const iterator = pipe.pull({ signal: AbortSignal.abort(reason) })
  await assert.rejects(iterator.next(), error => error === reason)
  assert.deepEqual(await iterator.next(), done)
  assert.deepEqual(pipe.stats().pull.bound, [])
})

test('a loop can be aborted while its end opens', limit, async t => {
  const pipe = open(t, inprocPlace())
  const controller = new AbortController()
  const iterator = pipe.pull({ signal: controller.signal })
  const next = iterator.next()
  controller.abort()
  await assert.rejects(next, { name: 'AbortError' })
  await pipe.push('kept')
  assert.deepEqual(texts(await take(pipe, 1)), ['kept'])
})

test('aborting one loop leaves the others alone', limit, async t => {
  const pipe = open(t, inprocPlace())
  const controller = new AbortController()
  const [aborted, other] = [pipe.pull({ signal: controller.signal }), pipe.pull()]
  const [first, second] = [aborted.next(), other.next()]
  assert.deepEqual(await standing(first, second), ['pending', 'pending'])
  controller.abort()
  await assert.rejects(first, { name: 'AbortError' })
  await pipe.push('for the other')
  assert.deepEqual(texts([(await second).value]), ['for the other'])
})

test('a signal that aborts after its loop has ended does nothing', limit, async t => {
  const pipe = open(t, inprocPlace())
  const controller = new AbortController()
  await pipe.push('job')
  const iterator = pipe.pull({ signal: controller.signal })
  await iterator.next()
  await iterator.return()
  controller.abort()
  assert.deepEqual(await iterator.next(), done)
})

test('every form of pull can be aborted', limit, async t => {
  const pipe = open(t, inprocPlace())
  for (const options of [{}, { batch: 3 }, { info: true }]) {
    const controller = new AbortController()
    const next = pipe.pull({ ...options, signal: controller.signal }).next()
    await standing(next)
    controller.abort()
    await assert.rejects(next, { name: 'AbortError' })
  }
  const controller = new AbortController()
  const handling = pipe.pull(() => {}, { signal: controller.signal })
  await standing(handling)
  controller.abort()
  await assert.rejects(handling, { name: 'AbortError' })
})

for (const form of ['pull', 'reply']) {
  test(`${form} with a handler can be aborted at any moment after the call`, limit, async t => {
    for (let ticks = 0; ticks < 8; ticks++) {
      const pipe = open(t, { [form]: { bind: inprocPlace() } })
      await pipe.ready()
      const controller = new AbortController()
      const handling = pipe[form](() => 'reply', { signal: controller.signal })
      for (let tick = 0; tick < ticks; tick++) await null
      controller.abort(new Error('enough'))
      await assert.rejects(handling, /enough/)
    }
  })
}
