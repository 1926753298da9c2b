import assert from 'node:assert/strict'
import { test } from 'node:test'
import { open } from './helpers/open.mjs'
import { inprocPlace } from './helpers/place.mjs'
import { standing } from './helpers/settle.mjs'
import { numbers, take, texts } from './helpers/take.mjs'

const limit = { timeout: 60_000 }

test('drain of a pipe with nothing to deliver resolves, opened or not', limit, async t => {
  const pipe = open(t, inprocPlace())
  assert.equal(await pipe.drain(), undefined)
  await pipe.ready()
  assert.equal(await pipe.drain(), undefined)
  await open(t, { pull: inprocPlace() }).drain()
})

test('drain resolves when everything pushed before, accepted or not, is delivered', limit, async t => {
  const place = inprocPlace()
  const pipe = open(t, { push: place, highWaterMark: { messages: 5 } })
  const pushes = numbers(20).map(number => pipe.push(number))
  const drained = pipe.drain()
  assert.deepEqual(await standing(drained), ['pending'])
  const worker = open(t, { pull: place })
  const received = take(worker, 20)

  await drained
  await Promise.all(pushes)
  assert.equal(pipe.stats().push.done, 20)
  assert.equal(pipe.stats().push.queued, 0)
  assert.deepEqual(texts(await received), numbers(20))
})

test('drain called before the end is open waits for what was pushed', limit, async t => {
  const pipe = open(t, inprocPlace())
  const pushed = pipe.push('early')
  const drained = pipe.drain()
  assert.deepEqual(await standing(drained), ['pending'])
  const received = take(pipe, 1)
  await Promise.all([pushed, drained])
  assert.deepEqual(texts(await received), ['early'])
})

test('drain resolves while others go on pushing at a full queue', limit, async t => {
  const pipe = open(t, { push: 'tcp://127.0.0.1:*', highWaterMark: { messages: 4 } })
  await pipe.ready()
  const worker = open(t, { pull: pipe.stats().push.bound[0] })
  let isOver = false
  const receiving = (async () => {
    for await (const [message] of worker.pull()) if (message.toString() === 'end') break
  })()
  const pushing = numbers(20).map(async () => {
    while (!isOver) await pipe.push('more')
  })
  await standing(...pushing)

  // Often, because what can go wrong here is a matter of when jobs come in.
  for (let i = 0; i < 500; i++) await pipe.drain()

  isOver = true
  await Promise.all(pushing)
  await pipe.push('end')
  await receiving
})

test('drain can be aborted before and while it waits', limit, async t => {
  const pipe = open(t, { push: inprocPlace() })
  await pipe.push('waits')
  const reason = new Error('no longer')
  await assert.rejects(pipe.drain({ signal: AbortSignal.abort(reason) }), error => error === reason)

  const controller = new AbortController()
  const drained = pipe.drain({ signal: controller.signal })
  assert.deepEqual(await standing(drained), ['pending'])
  controller.abort(reason)
  await assert.rejects(drained, error => error === reason)
  assert.equal(pipe.stats().push.queued, 1)

  const worker = open(t, { pull: pipe.stats().push.bound[0] })
  assert.deepEqual(texts(await take(worker, 1)), ['waits'])
  await pipe.drain()
})

test('drain rejects when the pipe gives up what it waits for', limit, async t => {
  const pipe = open(t, { push: inprocPlace() })
  await pipe.push('in vain')
  const drained = pipe.drain()
  await standing(drained)
  const closed = pipe.close({ linger: 0 })
  await assert.rejects(drained, { code: 'ERR_ZEROPIPE_CLOSED' })
  await closed
})

test('drain forgets a push that was aborted', limit, async t => {
  const pipe = open(t, { push: inprocPlace(), highWaterMark: { messages: 1 } })
  const controller = new AbortController()
  await pipe.push('1')
  const aborted = pipe.push('2', { signal: controller.signal })
  const drained = pipe.drain()
  assert.deepEqual(await standing(aborted, drained), ['pending', 'pending'])
  controller.abort()
  await assert.rejects(aborted, { name: 'AbortError' })
  const worker = open(t, { pull: pipe.stats().push.bound[0] })
  assert.deepEqual(texts(await take(worker, 1)), ['1'])
  await drained
})
