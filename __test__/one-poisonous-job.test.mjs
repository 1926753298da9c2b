import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pusher } from './helpers/ends.mjs'
import { happening } from './helpers/happening.mjs'
import { numbers } from './helpers/take.mjs'
import { until } from './helpers/until.mjs'
import { loop, worker } from './helpers/worker.mjs'

const limit = { timeout: 60_000 }
const COUNT = 1000
const POISON = '400'

/** Keeps so many workers running until `isOver`: one that ends is started again. All that there were. */
async function staff (t, address, count, text, isOver) {
  const all = []
  const position = async () => {
    while (!isOver()) {
      const one = worker(t, address, text)
      all.push(one)
      await one.ended
    }
  }
  for (; count > 0; count--) position()
  await until(isOver)
  return all
}

for (const [form, text] of [
  ['loops', loop(`if (text === '${POISON}') process.kill(process.pid, 'SIGKILL'), block(1e9)`)],
  ['handlers', `await pull(async (job, info) => {
    const text = begin({ job, ...info })
    if (text === '${POISON}') process.kill(process.pid, 'SIGKILL'), block(1e9)
    finish(text)
  }, { concurrency: 3 })`]
]) {
  for (const workers of [1, 2]) {
    test(`one of ${COUNT} jobs kills whoever gets it (${workers} with ${form}): it alone is dead after maxAttempts, all others are done`, limit, async t => {
      const { pipe, address } = await pusher(t, { maxAttempts: 5 })
      const dead = []
      pipe.on('dead', event => dead.push(event))
      const died = happening(pipe, 'dead')
      for (const number of numbers(COUNT)) await pipe.push(number)
      let isOver = false
      Promise.all([died, pipe.drain()]).then(() => { isOver = true })
      const all = await staff(t, address, workers, text, () => isOver)

      assert.deepEqual(dead.map(({ job }) => job.map(String)), [[POISON]])
      const [{ id, attempt, error }] = dead
      assert.equal(attempt, 5)
      assert.ok(error instanceof Error)
      assert.notEqual(error.message, '')
      assert.equal(typeof error.code, 'string')

      const begun = all.flatMap(({ begun }) => begun)
      const poisoned = begun.filter(({ text }) => text === POISON)
      assert.deepEqual(poisoned.map(({ attempt }) => attempt).sort(), [1, 2, 3, 4, 5])
      for (const one of poisoned) assert.equal(one.id, id)
      const { done, dead: buried, queued, inFlight } = pipe.stats().push
      assert.deepEqual({ done, buried, queued, inFlight }, { done: COUNT - 1, buried: 1, queued: 0, inFlight: 0 })
      const finished = () => new Set(all.flatMap(({ finished }) => finished))
      await until(() => finished().size === COUNT - 1)
      assert.ok(!finished().has(POISON))
    })
  }
}

test('without a listener for it a dead job is a process warning', limit, async t => {
  const { pipe, address } = await pusher(t, { maxAttempts: 2 })
  const warned = happening(process, 'warning', ({ code }) => code === 'ZEROPIPE_DEAD')
  await pipe.push('poison')
  let isOver = false
  pipe.drain().then(() => { isOver = true })
  await staff(t, address, 1, loop('process.exit(1)'), () => isOver)
  assert.match((await warned).message, /dead after 2 attempts/)
})

test('a job that is alone in its third attempt holds up no other worker', limit, async t => {
  const { pipe, address } = await pusher(t, { maxAttempts: 5 })
  await pipe.push('poison')
  for (let round = 1; round <= 2; round++) {
    const victim = worker(t, address, loop("process.kill(process.pid, 'SIGKILL'), block(1e9)"))
    await victim.ended
  }
  const text = loop("if (text === 'poison') await order('go')")
  const first = worker(t, address, text)
  await until(() => first.begun.length === 1)
  assert.deepEqual([first.begun[0].text, first.begun[0].attempt], ['poison', 3])
  for (const number of numbers(100)) await pipe.push(number)
  const second = worker(t, address, text)
  await until(() => second.finished.length === 100)
  await until(() => pipe.stats().push.inFlight === 1 && pipe.stats().push.done === 100)
  first.tell('go')
  await pipe.drain()
  assert.deepEqual([pipe.stats().push.done, pipe.stats().push.dead], [101, 0])
})
