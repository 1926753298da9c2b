import assert from 'node:assert/strict'
import { test } from 'node:test'
import { open } from './helpers/open.mjs'
import { inprocPlace } from './helpers/place.mjs'
import { standing } from './helpers/settle.mjs'
import { numbers, take, texts } from './helpers/take.mjs'

const limit = { timeout: 30_000 }

/** A push end with no worker, and a worker for later. */
function lonely (t, highWaterMark, place = inprocPlace()) {
  return { pipe: open(t, { push: place, highWaterMark }), hire: () => open(t, { pull: place }) }
}

test('with no worker push goes on up to the mark in jobs, waits there, and goes on when jobs leave', limit, async t => {
  const { pipe, hire } = lonely(t, { messages: 10 })
  const accepted = numbers(10).map(number => pipe.push(number))
  await Promise.all(accepted)
  const waiting = numbers(30).slice(10).map(number => pipe.push(number))
  assert.deepEqual(new Set(await standing(...waiting)), new Set(['pending']))
  assert.equal(pipe.stats().push.queued, 10)

  const received = await take(hire(), 30)

  await Promise.all(waiting)
  assert.deepEqual(texts(received), numbers(30))
})

test('a mark of one job lets one job in at a time', limit, async t => {
  const { pipe, hire } = lonely(t, { messages: 1 })
  await pipe.push(['one'])
  const waiting = pipe.push('two')
  assert.deepEqual(await standing(waiting), ['pending'])
  assert.deepEqual(texts(await take(hire(), 2)), ['one', 'two'])
  await waiting
})

test('with no worker push goes on up to the mark in bytes and waits there', limit, async t => {
  const { pipe, hire } = lonely(t, { bytes: 1000 })
  await pipe.push(Buffer.alloc(600))
  await pipe.push('x'.repeat(400))
  const waiting = pipe.push('x')
  assert.deepEqual(await standing(waiting), ['pending'])
  assert.equal(pipe.stats().push.queuedBytes, 1000)

  assert.equal((await take(hire(), 3)).length, 3)
  await waiting
})

test('every frame beyond the first counts 64 bytes against the mark', limit, async t => {
  const { pipe, hire } = lonely(t, { bytes: 1000 })
  await pipe.push(Array(11).fill(''))
  assert.equal(pipe.stats().push.queuedBytes, 640)
  const waiting = pipe.push(Array(7).fill(''))
  assert.deepEqual(await standing(waiting), ['pending'])

  const received = await take(hire(), 2)
  assert.deepEqual(received.map(({ length }) => length), [11, 7])
  await waiting
})

test('empty jobs count against the mark in jobs', limit, async t => {
  const { pipe } = lonely(t, { messages: 5, bytes: 1 })
  for (let i = 0; i < 5; i++) await pipe.push(null)
  assert.deepEqual(await standing(pipe.push(null).catch(() => {})), ['pending'])
})

for (const size of [5_000, 100_000, 3_000_000]) {
  test(`a job of ${size} bytes over the mark is taken when nothing else waits`, limit, async t => {
    const { pipe, hire } = lonely(t, { bytes: 1000 })
    await pipe.push(Buffer.alloc(size, 'a'))
    const second = pipe.push(Buffer.alloc(size, 'b'))
    const third = pipe.push('c')
    assert.deepEqual(await standing(second, third), ['pending', 'pending'])
    assert.equal(pipe.stats().push.queued, 1)

    const received = await take(hire(), 3)

    await Promise.all([second, third])
    assert.deepEqual(received.map(([frame]) => [frame.length, frame.toString('latin1', 0, 1)]), [[size, 'a'], [size, 'b'], [1, 'c']])
  })
}

test('the default mark is 100,000 jobs', limit, async t => {
  const { pipe } = lonely(t)
  for (let i = 0; i < 100_000; i++) await pipe.push('x')
  assert.equal(pipe.stats().push.queued, 100_000)
  assert.deepEqual(await standing(pipe.push('x').catch(() => {})), ['pending'])
})

test('the default mark is 64 MiB', limit, async t => {
  const { pipe } = lonely(t)
  for (let i = 0; i < 64; i++) await pipe.push(new Uint8Array(1 << 20))
  assert.equal(pipe.stats().push.queuedBytes, 64 << 20)
  assert.deepEqual(await standing(pipe.push('x').catch(() => {})), ['pending'])
})

test('a loop that pushes for ever is held up at the mark while there is no worker', limit, async t => {
  const { pipe } = lonely(t, { messages: 100 }, 'tcp://127.0.0.1:*')
  const controller = new AbortController()
  let pushed = 0
  const pushing = (async () => {
    for (;;) await pipe.push(String(pushed++), { signal: controller.signal })
  })()
  while (pushed <= 100) await standing(pushing)
  assert.equal(pushed, 101)
  controller.abort()
  await assert.rejects(pushing, { name: 'AbortError' })
  assert.equal(pipe.stats().push.queued, 100)
})

test('no worker is no error, whoever binds', limit, async t => {
  const bound = lonely(t, undefined, 'tcp://127.0.0.1:*').pipe
  const connected = open(t, { push: { connect: inprocPlace() } })
  const dialling = open(t, { push: { connect: 'tcp://127.0.0.1:1' } })
  for (const pipe of [bound, connected, dialling]) {
    for (let i = 0; i < 100; i++) await pipe.push('patience')
    assert.equal(pipe.stats().push.queued, 100)
    assert.deepEqual(pipe.stats().push.peers, [])
  }
})
