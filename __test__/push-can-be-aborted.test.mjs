import assert from 'node:assert/strict'
import { test } from 'node:test'
import { open } from './helpers/open.mjs'
import { inprocPlace } from './helpers/place.mjs'
import { standing } from './helpers/settle.mjs'
import { numbers, take, texts } from './helpers/take.mjs'

const limit = { timeout: 30_000 }

/** A push end with no worker, and a worker for later. */
function lonely (t, highWaterMark) {
  const place = inprocPlace()
  return { pipe: open(t, { push: place, highWaterMark }), hire: () => open(t, { pull: place }) }
}

test('a signal that is already aborted rejects with its reason and sends nothing', limit, async t => {
  const pipe = open(t, inprocPlace())
  const reason = new Error('changed my mind')
  for (let round = 0; round < 2; round++) {
    await assert.rejects(pipe.push('no', { signal: AbortSignal.abort(reason) }), error => error === reason)
    await assert.rejects(pipe.push('no', { signal: AbortSignal.abort() }), { name: 'AbortError' })
    await pipe.push(`yes ${round}`)
  }

  assert.deepEqual(texts(await take(pipe, 2)), ['yes 0', 'yes 1'])
})

test('a call that waits for room can be aborted, and the others keep their order', limit, async t => {
  const { pipe, hire } = lonely(t, { messages: 1 })
  const controller = new AbortController()
  const first = pipe.push('1')
  const second = pipe.push('2', { signal: controller.signal })
  const third = pipe.push('3')
  const fourth = pipe.push('4', { signal: controller.signal })
  const fifth = pipe.push('5')
  await first
  assert.deepEqual(await standing(second, third, fourth, fifth), ['pending', 'pending', 'pending', 'pending'])

  const reason = { any: 'value' }
  controller.abort(reason)

  await assert.rejects(second, error => error === reason)
  await assert.rejects(fourth, error => error === reason)
  assert.deepEqual(await standing(third, fifth), ['pending', 'pending'])
  assert.deepEqual(texts(await take(hire(), 3)), ['1', '3', '5'])
  await Promise.all([third, fifth])
})

test('when a call that is too large for the room is aborted, those behind it that fit are taken', limit, async t => {
  const { pipe, hire } = lonely(t, { bytes: 1000 })
  const controller = new AbortController()
  await pipe.push(Buffer.alloc(500))
  const large = pipe.push(Buffer.alloc(800), { signal: controller.signal })
  const small = [pipe.push('a'), pipe.push('b')]
  assert.deepEqual(await standing(large, ...small), ['pending', 'pending', 'pending'])

  controller.abort()

  await assert.rejects(large, { name: 'AbortError' })
  await Promise.all(small)
  const [, ...rest] = await take(hire(), 3)
  assert.deepEqual(texts(rest), ['a', 'b'])
})

test('a call can be aborted while the end opens', limit, async t => {
  const pipe = open(t, inprocPlace())
  const controller = new AbortController()
  const aborted = pipe.push('no', { signal: controller.signal })
  const other = pipe.push('yes')
  controller.abort()

  await assert.rejects(aborted, { name: 'AbortError' })
  await other
  await pipe.push('end')
  assert.deepEqual(texts(await take(pipe, 2)), ['yes', 'end'])
})

test('an abort after a job was accepted changes nothing', limit, async t => {
  const pipe = open(t, inprocPlace())
  const controller = new AbortController()
  await pipe.push('accepted', { signal: controller.signal })
  controller.abort()

  assert.deepEqual(texts(await take(pipe, 1)), ['accepted'])
})

test('a call that waits rejects with a TimeoutError when its signal is a timeout', limit, async t => {
  const { pipe } = lonely(t, { messages: 1 })
  await pipe.push('1')
  // A timeout signal alone keeps no process alive, and a push that waits does.
  await assert.rejects(pipe.push('2', { signal: AbortSignal.timeout(20) }), { name: 'TimeoutError' })
  assert.equal(pipe.stats().push.queued, 1)
})

test('a signal that serves many calls collects no listeners, and Node warns of none', limit, async t => {
  const { pipe, hire } = lonely(t, { messages: 1 })
  const warnings = []
  const listener = ({ name }) => warnings.push(name)
  process.on('warning', listener)
  t.after(() => process.off('warning', listener))
  const { signal } = new AbortController()
  let listeners = 0
  const { addEventListener, removeEventListener } = signal
  signal.addEventListener = (...args) => { listeners++; return addEventListener.apply(signal, args) }
  signal.removeEventListener = (...args) => { listeners--; return removeEventListener.apply(signal, args) }
  const pushes = numbers(100).map(number => pipe.push(number, { signal }))
  await standing(...pushes)

  assert.deepEqual(texts(await take(hire(), 100)), numbers(100))

  await Promise.all(pushes)
  assert.equal(listeners, 0)
  assert.ok(!warnings.includes('MaxListenersExceededWarning'))
})
