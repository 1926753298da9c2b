import assert from 'node:assert/strict'
import { test } from 'node:test'
import { happening, warning } from './helpers/happening.mjs'
import { open } from './helpers/open.mjs'
import { inprocPlace } from './helpers/place.mjs'
import { program } from './helpers/program.mjs'
import { standing } from './helpers/settle.mjs'
import { numbers } from './helpers/take.mjs'

const limit = { timeout: 10_000 }

test('others pass a job that is rejected, and it comes again with the same id', limit, async t => {
  const pipe = open(t, inprocPlace())
  const calls = []
  const handling = pipe.pull(async ([message], { id, attempt, from }) => {
    calls.push({ text: message.toString(), id, attempt, from })
    if (message.toString() === '0' && attempt < 3) throw new Error('not yet')
    if (message.toString() === '0') pipe.close()
  })
  for (const number of numbers(10)) await pipe.push(number)
  await handling

  assert.deepEqual(calls.map(({ text, attempt }) => `${text}:${attempt}`),
    [...numbers(10).map(number => `${number}:1`), '0:2', '0:3'])
  const attempts = calls.filter(({ text }) => text === '0')
  assert.equal(new Set(attempts.map(({ id }) => id)).size, 1)
  for (const { from } of attempts) assert.deepEqual(from, attempts[0].from)
})

test('a job that is tried again has all its bytes', limit, async t => {
  const pipe = open(t, 'tcp://127.0.0.1:*')
  const frames = [Buffer.alloc(70_000, 'a'), Buffer.from('b'), Buffer.alloc(0)]
  const seen = []
  const handling = pipe.pull(async (job, { attempt }) => {
    seen.push(job.map(frame => Buffer.from(frame)))
    if (attempt === 1) throw new Error('again')
    pipe.close()
  })
  await pipe.push(frames)
  await handling
  assert.deepEqual(seen, [frames, frames])
})

test('a handler that throws at once, or rejects with nothing, has failed like any other', limit, async t => {
  const pipe = open(t, inprocPlace())
  const attempts = []
  const handling = pipe.pull((job, { attempt }) => {
    attempts.push(attempt)
    if (attempt === 1) throw new Error('at once')
    // eslint-disable-next-line prefer-promise-reject-errors
    if (attempt === 2) return Promise.reject()
    pipe.close()
  })
  await pipe.push('job')
  await handling
  assert.deepEqual(attempts, [1, 2, 3])
})

test('a job that is tried again counts for concurrency', limit, async t => {
  const pipe = open(t, inprocPlace())
  let running = 0
  let most = 0
  let release
  const held = new Promise(resolve => { release = resolve })
  let retried
  const again = new Promise(resolve => { retried = resolve })
  const order = []
  const handling = pipe.pull(async ([message], { attempt }) => {
    most = Math.max(most, ++running)
    try {
      order.push(`${message}:${attempt}`)
      if (message.toString() === 'first' && attempt === 1) throw new Error('again')
      if (message.toString() === 'first') {
        retried()
        await held
      } else {
        pipe.close()
      }
    } finally {
      running--
    }
  })
  await pipe.push('first')
  await again
  // It runs again, and the pool has waited for another job meanwhile: that one must wait for its turn.
  await pipe.push('second')
  await pipe.drain()
  await standing(handling)
  release()
  await handling

  assert.deepEqual(order, ['first:1', 'first:2', 'second:1'])
  assert.equal(most, 1)
})

test('after maxAttempts a job is dead: an event tells of it, and it comes no more', limit, async t => {
  const pipe = open(t, { push: inprocPlace(), maxAttempts: 3 })
  const [place] = await pipe.ready().then(() => pipe.stats().push.bound)
  const worker = open(t, { pull: place, maxAttempts: 3 })
  const errors = []
  const ids = new Set()
  const handling = worker.pull(async ([message], { id, attempt }) => {
    if (message.toString() !== 'poison') return
    ids.add(id)
    errors.push(new Error(`attempt ${attempt}`))
    throw errors.at(-1)
  })
  const dead = happening(worker, 'dead')
  await pipe.push(['poison', 'and more'])

  const event = await dead

  assert.deepEqual(Object.keys(event).sort(), ['attempt', 'error', 'id', 'job'])
  assert.deepEqual(event.job, [Buffer.from('poison'), Buffer.from('and more')])
  assert.equal(event.attempt, 3)
  assert.equal(event.error, errors[2])
  assert.deepEqual([...ids], [event.id])
  await worker.close()
  await handling
  assert.equal(errors.length, 3)
})

test('with maxAttempts 1 nothing is tried twice, and the pool goes on', limit, async t => {
  const pipe = open(t, { push: 'tcp://127.0.0.1:*' })
  await pipe.ready()
  const worker = open(t, { pull: pipe.stats().push.bound[0], maxAttempts: 1 })
  const dead = []
  worker.on('dead', ({ job: [message], attempt, error }) => dead.push(`${message}:${attempt}:${error}`))
  let calls = 0
  const handling = worker.pull(async ([message]) => {
    if (++calls === 10) worker.close()
    if (message % 2 === 0) throw `no ${message}` // eslint-disable-line no-throw-literal
  }, { concurrency: 2 })
  for (const number of numbers(10)) await pipe.push(number)
  await handling
  assert.deepEqual(dead, ['0:1:no 0', '2:1:no 2', '4:1:no 4', '6:1:no 6', '8:1:no 8'])
})

test('a dead job that nobody listens for is a process warning', limit, async t => {
  const { ended } = program(t, `
    import { pipe } from 'zeropipe'
    const worker = pipe({ push: 'inproc://dead', pull: { connect: 'inproc://dead' }, maxAttempts: 1 })
    process.on('warning', ({ name, code, message }) => {
      console.log(JSON.stringify({ name, code, message }))
      worker.close()
    })
    const handling = worker.pull(() => { throw new Error('the reason') })
    await worker.push('poison')
    await handling
  `)
  const { code, signal, stdout, stderr } = await ended
  assert.deepEqual({ code, signal }, { code: 0, signal: null }, stderr)
  const told = JSON.parse(stdout)
  assert.equal(told.code, 'ZEROPIPE_DEAD')
  assert.match(told.message, /the reason/)
})

test('jobs that wait for another attempt when the pipe closes are told of', limit, async t => {
  const pipe = open(t, inprocPlace())
  let failed
  const once = new Promise(resolve => { failed = resolve })
  const handling = pipe.pull(async () => {
    setImmediate(failed)
    throw new Error('later')
  })
  await pipe.push('unlucky')
  await once
  const warned = warning('ZEROPIPE_GAVE_UP')
  await pipe.close()
  await handling
  assert.match((await warned).message, /1/)
})
