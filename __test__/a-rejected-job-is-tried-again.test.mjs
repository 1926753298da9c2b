import assert from 'node:assert/strict'
import { test } from 'node:test'
import { puller, pusher } from './helpers/ends.mjs'
import { happening, warning } from './helpers/happening.mjs'
import { open } from './helpers/open.mjs'
import { inprocPlace } from './helpers/place.mjs'
import { program } from './helpers/program.mjs'
import { dial, job } from './helpers/raw-peer.mjs'
import { standing } from './helpers/settle.mjs'
import { numbers } from './helpers/take.mjs'
import { until } from './helpers/until.mjs'

const limit = { timeout: 10_000 }

/**
 * A worker and who pushes to it. A zeropipe pusher is told of a failure and tries again, a plain one can't be, and the worker's
 * process does it. `keeper` is the pipe that tells of dead jobs, `errorOf` what it says of one whose handler rejected.
 */
const pushers = {
  'a zeropipe pusher': async (t, options = {}) => {
    const { pipe, address } = await pusher(t, options)
    const worker = open(t, { pull: address })
    return {
      worker,
      keeper: pipe,
      push: (...jobs) => Promise.all(jobs.map(frames => pipe.push(frames))),
      errorOf: ({ message }) => ({ code: 'ERR_ZEROPIPE_JOB_FAILED', message })
    }
  },
  'a plain pusher': async (t, options = {}) => {
    const { pipe: worker, address } = await puller(t, options)
    const peer = await dial(t, address)
    await peer.handshake('PUSH')
    return {
      worker,
      keeper: worker,
      push: (...jobs) => peer.flush(...jobs.map(frames => job(...frames))),
      errorOf: ({ message }) => ({ code: undefined, message })
    }
  }
}

for (const [name, meet] of Object.entries(pushers)) {
  test(`from ${name}: others pass a job that is rejected, and it comes again with the same id`, limit, async t => {
    const { worker, push } = await meet(t)
    const calls = []
    const handling = worker.pull(async ([message], { id, attempt, from }) => {
      calls.push({ text: message.toString(), id, attempt, from })
      if (message.toString() === '0' && attempt < 3) throw new Error('not yet')
      if (message.toString() === '0') worker.close()
    })
    await push(...numbers(10).map(number => [number]))
    await handling

    assert.deepEqual(calls.map(({ text, attempt }) => `${text}:${attempt}`),
      [...numbers(10).map(number => `${number}:1`), '0:2', '0:3'])
    assert.equal(new Set(calls.map(({ id }) => id)).size, 10)
    const attempts = calls.filter(({ text }) => text === '0')
    assert.equal(new Set(attempts.map(({ id }) => id)).size, 1)
    for (const { from } of attempts) assert.deepEqual(from, attempts[0].from)
  })

  test(`from ${name}: a job that is tried again has all its bytes`, limit, async t => {
    const { worker, push } = await meet(t)
    const frames = [Buffer.alloc(70_000, 'a'), Buffer.from('b'), Buffer.alloc(0)]
    const seen = []
    const handling = worker.pull(async (job, { attempt }) => {
      seen.push(job.map(frame => Buffer.from(frame)))
      if (attempt === 1) throw new Error('again')
      worker.close()
    })
    await push(frames)
    await handling
    assert.deepEqual(seen, [frames, frames])
  })

  test(`from ${name}: a handler that throws at once, or rejects with nothing, has failed like any other`, limit, async t => {
    const { worker, push } = await meet(t)
    const attempts = []
    const handling = worker.pull((job, { attempt }) => {
      attempts.push(attempt)
      if (attempt === 1) throw new Error('at once')
      // eslint-disable-next-line prefer-promise-reject-errors
      if (attempt === 2) return Promise.reject()
      worker.close()
    })
    await push(['job'])
    await handling
    assert.deepEqual(attempts, [1, 2, 3])
  })

  test(`from ${name}: a job that is tried again counts for concurrency`, limit, async t => {
    const { worker, push } = await meet(t)
    let running = 0
    let most = 0
    let release
    const held = new Promise(resolve => { release = resolve })
    let retried
    const again = new Promise(resolve => { retried = resolve })
    const order = []
    const handling = worker.pull(async ([message], { attempt }) => {
      most = Math.max(most, ++running)
      try {
        order.push(`${message}:${attempt}`)
        if (message.toString() === 'first' && attempt === 1) throw new Error('again')
        if (message.toString() === 'first') {
          retried()
          await held
        } else {
          worker.close()
        }
      } finally {
        running--
      }
    })
    await push(['first'])
    await again
    // It runs again, and the pool has waited for another job meanwhile: that one must wait for its turn.
    await push(['second'])
    await standing(handling)
    release()
    await handling

    assert.deepEqual(order, ['first:1', 'first:2', 'second:1'])
    assert.equal(most, 1)
  })

  test(`from ${name}: after maxAttempts a job is dead: an event tells of it, and it comes no more`, limit, async t => {
    const { worker, keeper, push, errorOf } = await meet(t, { maxAttempts: 3 })
    const errors = []
    const ids = new Set()
    const handling = worker.pull(async ([message], { id, attempt }) => {
      if (message.toString() !== 'poison') {
        worker.close()
        return
      }
      ids.add(id)
      errors.push(new Error(`attempt ${attempt}`))
      throw errors.at(-1)
    })
    const dead = happening(keeper, 'dead')
    await push(['poison', 'and more'])

    const event = await dead

    assert.deepEqual(Object.keys(event).sort(), ['attempt', 'error', 'id', 'job'])
    assert.deepEqual(event.job, [Buffer.from('poison'), Buffer.from('and more')])
    assert.equal(event.attempt, 3)
    assert.ok(event.error instanceof Error)
    assert.deepEqual({ code: event.error.code, message: event.error.message }, errorOf(errors[2]))
    assert.deepEqual([...ids], [event.id])
    await push(['the next'])
    await handling
    assert.equal(errors.length, 3)
  })

  test(`from ${name}: with maxAttempts 1 nothing is tried twice, and the pool goes on`, limit, async t => {
    const { worker, keeper, push } = await meet(t, { maxAttempts: 1 })
    const dead = []
    keeper.on('dead', ({ job: [message], attempt, error }) => dead.push(`${message}:${attempt}:${error.message ?? error}`))
    const last = happening(keeper, 'dead', ({ job: [message] }) => message.toString() === '8')
    let calls = 0
    const handling = worker.pull(async ([message]) => {
      if (++calls === 10) worker.close()
      if (message % 2 === 0) throw `no ${message}` // eslint-disable-line no-throw-literal
    }, { concurrency: 2 })
    await push(...numbers(10).map(number => [number]))
    await handling
    await last
    assert.equal(calls, 10)
    assert.deepEqual(dead, ['0:1:no 0', '2:1:no 2', '4:1:no 4', '6:1:no 6', '8:1:no 8'])
  })
}

test('the dead job of a plain pusher is told of with the very error that its handler rejected with', limit, async t => {
  const { worker, push } = await pushers['a plain pusher'](t, { maxAttempts: 1 })
  const error = new TypeError('the reason')
  const dead = happening(worker, 'dead')
  const handling = worker.pull(async () => { throw error })
  await push(['poison'])
  assert.equal((await dead).error, error)
  await worker.close()
  await handling
})

test('the dead job of a zeropipe pusher is counted, and drain waits for it no longer', limit, async t => {
  const { worker, keeper, push } = await pushers['a zeropipe pusher'](t, { maxAttempts: 2 })
  keeper.on('dead', () => {})
  const handling = worker.pull(async ([message]) => { if (message.toString() === 'poison') throw new Error('no') })
  await push(['poison'], ['fine'])
  await keeper.drain()
  const { queued, inFlight, done, redelivered, dead } = keeper.stats().push
  assert.deepEqual({ queued, inFlight, done, redelivered, dead }, { queued: 0, inFlight: 0, done: 1, redelivered: 1, dead: 1 })
  await worker.close()
  await handling
})

for (const flow of ['on', 'off']) {
  test(`a dead job that nobody listens for is a process warning (flow ${flow})`, limit, async t => {
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
    `, { env: { ZEROPIPE_FLOW: flow } })
    const { code, signal, stdout, stderr } = await ended
    assert.deepEqual({ code, signal }, { code: 0, signal: null }, stderr)
    const told = JSON.parse(stdout)
    assert.equal(told.code, 'ZEROPIPE_DEAD')
    assert.match(told.message, /the reason/)
  })
}

test('jobs of a plain pusher that wait for another attempt when the worker closes are told of', limit, async t => {
  const { worker, push } = await pushers['a plain pusher'](t)
  let failed
  const once = new Promise(resolve => { failed = resolve })
  const handling = worker.pull(async () => {
    setImmediate(failed)
    throw new Error('later')
  })
  await push(['unlucky'])
  await once
  const warned = warning('ZEROPIPE_GAVE_UP')
  await worker.close()
  await handling
  assert.match((await warned).message, /1/)
})

test('a job that has failed on a worker that closes is tried by another', limit, async t => {
  const { pipe, address } = await pusher(t)
  const first = open(t, { pull: address })
  await pipe.push('unlucky')
  const ids = []
  await first.pull(async (job, { id }) => {
    ids.push(id)
    first.close()
    throw new Error('not here')
  })
  const second = open(t, { pull: address })
  await second.pull(async ([message], { id, attempt }) => {
    assert.deepEqual([message.toString(), attempt], ['unlucky', 2])
    ids.push(id)
    second.close()
  })
  await pipe.drain()
  assert.equal(ids[0], ids[1])
})

test('jobs that wait for another attempt when their pusher gives up are told of', limit, async t => {
  const place = inprocPlace()
  const pipe = open(t, { push: place })
  const worker = open(t, { pull: place })
  const handling = worker.pull(async () => { throw new Error('later') })
  await pipe.push('unlucky')
  // Nothing is in flight between two attempts.
  await until(() => pipe.stats().push.peers[0]?.jobs > 0 && pipe.stats().push.inFlight === 0)
  const warned = warning('ZEROPIPE_GAVE_UP')
  await pipe.close({ linger: 0 })
  assert.match((await warned).message, /\b1\b/)
  await worker.close()
  await handling
})
