import assert from 'node:assert/strict'
import { test } from 'node:test'
import { open } from './helpers/open.mjs'
import { inprocPlace } from './helpers/place.mjs'
import { take, texts } from './helpers/take.mjs'

const limit = { timeout: 30_000 }
const invalid = { name: 'Error', code: 'ERR_ZEROPIPE_INVALID_JOB' }
const tooLarge = { name: 'Error', code: 'ERR_ZEROPIPE_MESSAGE_TOO_LARGE' }

const noJobs = {
  'a plain object': { a: 1 },
  'an object without a prototype': Object.create(null),
  'an object with toString': { toString: () => 'text' },
  'a Date': new Date(),
  'a Map': new Map(),
  'a String object': Object('text'),
  'a Promise': Promise.resolve('text'),
  'an undefined value': undefined,
  'a function': () => 'text',
  'a symbol': Symbol('text'),
  true: true,
  false: false,
  'a bigint': 5n,
  'an array of numbers within an array': [[1, 2]],
  'an empty array within an array': [[]]
}

/** Calls push, which must neither throw nor accept. */
async function assertRefused (pipe, job, expected) {
  let pushed
  assert.doesNotThrow(() => { pushed = pipe.push(job) })
  assert.ok(pushed instanceof Promise)
  await assert.rejects(pushed, expected)
}

for (const [name, job] of Object.entries(noJobs)) {
  test(`${name} is no job and no frame`, limit, async t => {
    const pipe = open(t, inprocPlace())
    for (let round = 0; round < 2; round++) {
      await assertRefused(pipe, job, invalid)
      await assertRefused(pipe, [job], invalid)
      await assertRefused(pipe, ['a', job, 'b'], invalid)
      await pipe.push('a job') // after which the end is open
    }

    assert.deepEqual(texts(await take(pipe, 2)), ['a job', 'a job'])
    assert.equal(pipe.stats().push.queued, 0)
  })
}

test('an empty array is no job', limit, async t => {
  const pipe = open(t, inprocPlace())
  await assertRefused(pipe, [], invalid)
  await pipe.ready()
  await assertRefused(pipe, [], invalid)
})

test('an array with a hole is no job', limit, async t => {
  const pipe = open(t, inprocPlace())
  await assertRefused(pipe, ['a', , 'b'], invalid) // eslint-disable-line no-sparse-arrays
  await assertRefused(pipe, new Array(3), invalid)
})

test('push without arguments is refused', limit, async t => {
  const pipe = open(t, inprocPlace())
  await assert.rejects(pipe.push(), invalid)
})

test('a job that takes what maxMessageSize allows passes, one byte more is refused', limit, async t => {
  const pipe = open(t, { push: 'tcp://127.0.0.1:*', maxMessageSize: 1000 })
  await pipe.ready()
  const worker = open(t, { pull: pipe.stats().push.bound[0], maxMessageSize: 1000 })
  const fitting = [
    Buffer.alloc(1000),
    'x'.repeat(1000),
    'é'.repeat(500),
    ['x'.repeat(936), ''],
    ['x'.repeat(400), Buffer.alloc(472), null],
    Array(16).fill('xx').concat(Buffer.alloc(1000 - 32 - 16 * 64 + 64)).slice(1)
  ]
  const excessive = [
    Buffer.alloc(1001),
    'x'.repeat(1001),
    'é'.repeat(500) + 'x',
    ['x'.repeat(936), 'x'],
    ['x'.repeat(400), Buffer.alloc(473), null],
    Array(17).fill('')
  ]
  for (const job of excessive) await assertRefused(pipe, job, tooLarge)
  for (const job of fitting) await pipe.push(job)
  for (const job of excessive) await assertRefused(pipe, job, tooLarge)

  const received = await take(worker, fitting.length)
  const expected = fitting.map(job => [job].flat().map(frame => Buffer.from(frame ?? '')))
  assert.deepEqual(received, expected)
})

test('a limit over 64 KiB holds to the byte too', limit, async t => {
  const pipe = open(t, { push: 'tcp://127.0.0.1:*', maxMessageSize: 100_000 })
  await pipe.ready()
  const worker = open(t, { pull: pipe.stats().push.bound[0], maxMessageSize: 100_000 })
  await assertRefused(pipe, Buffer.alloc(100_001), tooLarge)
  await pipe.push(Buffer.alloc(100_000))
  await assertRefused(pipe, ['', Buffer.alloc(99_937)], tooLarge)
  await pipe.push(['', Buffer.alloc(99_936)])

  const received = await take(worker, 2)
  assert.deepEqual(received.map(job => job.map(({ length }) => length)), [[100_000], [0, 99_936]])
})

test('a job of 1,024 frames passes, one of 1,025 is refused', limit, async t => {
  const pipe = open(t, 'tcp://127.0.0.1:*')
  await assertRefused(pipe, Array(1025).fill('x'), tooLarge)
  await pipe.push(Array(1024).fill('x'))
  await assertRefused(pipe, Array(1025).fill('x'), tooLarge)

  const [job] = await take(pipe, 1)
  assert.equal(job.length, 1024)
})

test('the default limit is 64 MiB', limit, async t => {
  const pipe = open(t, inprocPlace())
  await assertRefused(pipe, Buffer.alloc((64 << 20) + 1), tooLarge)
  await pipe.push(new ArrayBuffer(64 << 20))

  const [[frame]] = await take(pipe, 1)
  assert.equal(frame.length, 64 << 20)
})

test('what is refused is not queued and holds up nobody', limit, async t => {
  const pipe = open(t, inprocPlace())
  const outcomes = await Promise.allSettled([pipe.push('a'), pipe.push({}), pipe.push('b'), pipe.push(Array(2000).fill('')), pipe.push('c')])

  assert.deepEqual(outcomes.map(({ status }) => status), ['fulfilled', 'rejected', 'fulfilled', 'rejected', 'fulfilled'])
  assert.deepEqual(texts(await take(pipe, 3)), ['a', 'b', 'c'])
})
