import assert from 'node:assert/strict'
import { test } from 'node:test'
import { open } from './helpers/open.mjs'
import { inprocPlace } from './helpers/place.mjs'

const limit = { timeout: 30_000 }
const endless = { messages: 2 ** 32, bytes: 2 ** 40 }

/** A timer that fires every millisecond, and counts. */
function clock (t) {
  const clock = { ticks: 0 }
  const timer = setInterval(() => { clock.ticks++ }, 1)
  t.after(() => clearInterval(timer))
  return clock
}

/** Some work, so that the next jobs are always there before they are asked for. */
function work () {
  let sum = 0
  for (let i = 0; i < 20_000; i++) sum += i % 7
  return sum
}

const { signal } = new AbortController()
const jobs = {
  'short strings': ['short'],
  'long strings': ['long '.repeat(100)],
  'strings beyond ASCII': ['żółw'],
  Buffers: [Buffer.alloc(20)],
  numbers: [42],
  nulls: [null],
  'typed arrays': [new Float64Array(4)],
  'jobs of two frames': [['one', 'two']],
  'jobs with a signal': ['signal', { signal }],
  'jobs of 64 KiB': [Buffer.alloc(64 << 10), undefined, 4_000]
}

for (const [name, [job, options, most = 2_000_000]] of Object.entries(jobs)) {
  test(`a loop that pushes ${name} and never waits lets timers run`, limit, async t => {
    const pipe = open(t, { push: inprocPlace(), highWaterMark: endless })
    await pipe.ready()
    const time = clock(t)
    for (let i = 0; i < most && time.ticks === 0; i++) await pipe.push(job, options)
    assert.ok(time.ticks > 0, 'no timer ran')
  })
}

for (const [name, options] of Object.entries({ jobs: {}, batches: { batch: 2 }, 'jobs with info': { info: true } })) {
  test(`a loop that takes ${name} and never waits lets timers run`, limit, async t => {
    const pipe = open(t, { push: inprocPlace(), highWaterMark: endless })
    for (let i = 0; i < 200_000; i++) await pipe.push('job')
    const worker = open(t, { pull: pipe.stats().push.bound[0] })
    const time = clock(t)
    let steps = 0
    for await (const job of worker.pull(options)) {
      assert.ok(job && work() > 0)
      if (time.ticks >= 3 || ++steps === 50_000) break
    }
    assert.ok(time.ticks >= 3, `${time.ticks} ticks in ${steps} steps`)
  })
}

test('a handler that returns at once lets timers run', limit, async t => {
  const pipe = open(t, { push: inprocPlace(), highWaterMark: endless })
  for (let i = 0; i < 200_000; i++) await pipe.push('job')
  const worker = open(t, { pull: pipe.stats().push.bound[0] })
  const time = clock(t)
  let jobs = 0
  await worker.pull(() => {
    assert.ok(work() > 0)
    if (time.ticks >= 3 || ++jobs === 50_000) worker.close()
  }, { concurrency: 4 })
  assert.ok(time.ticks >= 3, `${time.ticks} ticks in ${jobs} jobs`)
})

test('a signal handler runs while a loop pushes and another takes', limit, async t => {
  const pipe = open(t, 'tcp://127.0.0.1:*')
  const handled = []
  const handler = signal => handled.push(signal)
  // Not SIGUSR2: Node's own test runner has a report written at that.
  process.on('SIGHUP', handler)
  t.after(() => process.off('SIGHUP', handler))
  await pipe.ready({ pullers: 1, pushers: 1 })
  process.kill(process.pid, 'SIGHUP')
  const taking = (async () => {
    for await (const [message] of pipe.pull()) if (message.length === 0) break
  })()
  for (let i = 0; i < 2_000_000 && handled.length === 0; i++) await pipe.push('job')
  assert.deepEqual(handled, ['SIGHUP'])
  await pipe.push(null)
  await taking
})

test('a loop that pushes and one that takes get on side by side, with timers and immediates', limit, async t => {
  const pipe = open(t, 'tcp://127.0.0.1:*')
  const time = clock(t)
  let immediates = 0
  let isOver = false
  setImmediate(function again () {
    immediates++
    if (!isOver) setImmediate(again)
  })
  let taken = 0
  const taking = (async () => {
    for await (const [message] of pipe.pull()) {
      if (message.length === 0) break
      taken++
    }
  })()
  let pushed = 0
  for (; pushed < 3_000_000 && (taken < 50_000 || time.ticks < 10 || immediates < 10); pushed++) await pipe.push('job')
  assert.ok(taken >= 50_000 && time.ticks >= 10 && immediates >= 10, `${taken} of ${pushed} taken, ${time.ticks} ticks, ${immediates} immediates`)
  await pipe.push(null)
  await taking
  isOver = true
  assert.equal(taken, pushed)
})
