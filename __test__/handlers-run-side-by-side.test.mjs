import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { open } from './helpers/open.mjs'
import { inprocPlace } from './helpers/place.mjs'
import { standing } from './helpers/settle.mjs'
import { numbers, take, texts } from './helpers/take.mjs'

const limit = { timeout: 10_000 }

/** Counts how many of its handlers run at once. */
function gauge () {
  const seen = { running: 0, most: 0, jobs: [] }
  seen.handler = async job => {
    seen.running++
    seen.most = Math.max(seen.most, seen.running)
    seen.jobs.push(job)
    for (let i = 0; i < 3; i++) await setImmediate()
    seen.running--
  }
  return seen
}

for (const concurrency of [undefined, 1, 4, 100]) {
  test(`with concurrency ${concurrency ?? 'not given'} that many handlers run, and never more`, limit, async t => {
    const pipe = open(t, 'tcp://127.0.0.1:*')
    const seen = gauge()
    const handling = pipe.pull(async job => {
      await seen.handler(job)
      if (seen.jobs.length === 400 && seen.running === 0) pipe.close()
    }, concurrency === undefined ? undefined : { concurrency })
    await Promise.all(numbers(400).map(number => pipe.push(number)))
    await handling

    assert.equal(seen.most, concurrency ?? 1)
    assert.deepEqual(texts(seen.jobs), numbers(400))
  })
}

test('handlers that return at once are never more than one after the other', limit, async t => {
  const pipe = open(t, inprocPlace())
  const jobs = []
  const handling = pipe.pull(job => {
    jobs.push(job)
    if (jobs.length === 5000) pipe.close()
  })
  for (const number of numbers(5000)) await pipe.push(number)
  await handling
  assert.deepEqual(texts(jobs), numbers(5000))
})

test('a handler is told the id, the attempt and who sent the job', limit, async t => {
  const place = inprocPlace()
  const pusher = open(t, { push: { bind: place }, identity: 'sender' })
  const worker = open(t, { pull: { connect: place } })
  const infos = []
  const handling = worker.pull((job, info) => {
    infos.push(info)
    if (infos.length === 20) worker.close()
  })
  for (const number of numbers(20)) await pusher.push(number)
  await handling

  assert.equal(new Set(infos.map(({ id }) => id)).size, 20)
  for (const { id, attempt, from } of infos) {
    assert.equal(typeof id, 'string')
    assert.equal(attempt, 1)
    assert.deepEqual(from, { address: place, identity: 'sender' })
  }
})

test('an abort takes no more jobs, lets those that run finish, and then rejects with the reason', limit, async t => {
  const pipe = open(t, inprocPlace())
  for (const number of numbers(10)) await pipe.push(number)
  const controller = new AbortController()
  const started = []
  let finish
  const held = new Promise(resolve => { finish = resolve })
  const handling = pipe.pull(async job => {
    started.push(job)
    await held
  }, { concurrency: 3, signal: controller.signal })
  while (started.length < 3) await setImmediate()
  const reason = new Error('enough')
  controller.abort(reason)
  assert.deepEqual(await standing(handling), ['pending'])
  finish()

  await assert.rejects(handling, error => error === reason)
  assert.equal(started.length, 3)
  assert.deepEqual(texts([...started, ...await take(pipe, 7)]), numbers(10))
})

test('a signal that is already aborted rejects with its reason and takes no job', limit, async t => {
  const pipe = open(t, inprocPlace())
  await pipe.push('kept')
  const reason = new Error('no')
  await assert.rejects(pipe.pull(() => assert.fail('called'), { signal: AbortSignal.abort(reason) }), error => error === reason)
  assert.deepEqual(texts(await take(pipe, 1)), ['kept'])
})

test('it resolves when the pipe is closed, once its handlers have settled', limit, async t => {
  const pipe = open(t, inprocPlace())
  const events = new EventTarget()
  let finish
  const handling = pipe.pull(async () => {
    events.dispatchEvent(new Event('started'))
    await new Promise(resolve => { finish = resolve })
  }, { concurrency: 2 })
  const started = once(events, 'started')
  await pipe.push('long')
  await started
  await pipe.close()
  assert.deepEqual(await standing(handling), ['pending'])
  finish()
  assert.equal(await handling, undefined)
})

test('one that waits for jobs resolves when the pipe is closed', limit, async t => {
  const pipe = open(t, inprocPlace())
  const handling = pipe.pull(() => {}, { concurrency: 2 })
  await pipe.ready()
  await standing(handling)
  await pipe.close()
  assert.equal(await handling, undefined)
})

test('a pool and loops share the jobs', limit, async t => {
  const pipe = open(t, 'tcp://127.0.0.1:*')
  const taken = []
  const tally = async (job, ways) => {
    taken.push(job)
    ways.count++
    await setImmediate()
    if (taken.length === 1000) pipe.close()
  }
  const [byHandler, byLoop] = [{ count: 0 }, { count: 0 }]
  const handling = pipe.pull(job => tally(job, byHandler), { concurrency: 2 })
  const looping = (async () => {
    for await (const job of pipe.pull()) await tally(job, byLoop)
  })()
  await Promise.all(numbers(1000).map(number => pipe.push(number)))
  await Promise.all([handling, looping])

  assert.deepEqual(texts(taken).sort((a, b) => a - b), numbers(1000))
  assert.ok(byHandler.count > 0 && byLoop.count > 0, `${byHandler.count} and ${byLoop.count}`)
})
