import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pusher } from './helpers/ends.mjs'
import { open } from './helpers/open.mjs'
import { inprocPlace } from './helpers/place.mjs'
import { standing } from './helpers/settle.mjs'
import { numbers, take, texts } from './helpers/take.mjs'

const limit = { timeout: 30_000 }
const done = { value: undefined, done: true }

/** A pipe with so many numbers pushed. */
async function filled (t, count) {
  const pipe = open(t, inprocPlace())
  for (const number of numbers(count)) await pipe.push(number)
  return pipe
}

test('a loop gets the jobs in order, each an array of Buffers', limit, async t => {
  const pipe = await filled(t, 3)
  await pipe.push(['a', 'b'])
  const jobs = []
  for await (const job of pipe.pull()) {
    jobs.push(job)
    if (jobs.length === 4) break
  }
  assert.deepEqual(jobs, [['0'], ['1'], ['2'], ['a', 'b']].map(job => job.map(frame => Buffer.from(frame))))
})

test('an iterator is its own iterable', limit, async t => {
  const pipe = await filled(t, 1)
  const iterator = pipe.pull()
  assert.equal(iterator[Symbol.asyncIterator](), iterator)
  const { value: [frame], done } = await iterator.next()
  assert.deepEqual([frame.toString(), done], ['0', false])
})

test('concurrent calls of next are answered in order', limit, async t => {
  const pipe = open(t, inprocPlace())
  const iterator = pipe.pull()
  const waiting = numbers(50).map(() => iterator.next())
  for (const number of numbers(100)) await pipe.push(number)
  waiting.push(...numbers(50).map(() => iterator.next()))

  const results = await Promise.all(waiting)

  assert.deepEqual(texts(results.map(({ value }) => value)), numbers(100))
})

test('return ends a loop, before it began, while it waits and after it got jobs', limit, async t => {
  const pipe = await filled(t, 1)
  const unused = pipe.pull()
  assert.deepEqual(await unused.return('early'), { value: 'early', done: true })
  assert.deepEqual(await unused.next(), done)

  const used = pipe.pull()
  assert.equal((await used.next()).done, false)
  const waiting = [used.next(), used.next()]
  assert.deepEqual(await standing(...waiting), ['pending', 'pending'])
  assert.deepEqual(await used.return('late'), { value: 'late', done: true })
  assert.deepEqual(await Promise.all(waiting), [done, done])
  assert.deepEqual(await used.next(), done)
  assert.deepEqual(await used.return(), done)
})

test('return while the end opens ends the loop and takes no job', limit, async t => {
  const pipe = open(t, inprocPlace())
  const iterator = pipe.pull()
  const waiting = iterator.next()
  await iterator.return()
  assert.deepEqual(await waiting, done)
  await pipe.push('kept')
  assert.deepEqual(await iterator.next(), done)
  assert.deepEqual(texts(await take(pipe, 1)), ['kept'])
})

test('throw ends a loop and rejects with what it was given', limit, async t => {
  const pipe = await filled(t, 2)
  const iterator = pipe.pull()
  await iterator.next()
  const error = new Error('thrown in')
  await assert.rejects(iterator.throw(error), thrown => thrown === error)
  assert.deepEqual(await iterator.next(), done)
  assert.deepEqual(texts(await take(pipe, 1)), ['1'])
})

test('break loses no job', limit, async t => {
  const pipe = await filled(t, 1000)
  const jobs = []
  for (const count of [1, 10, 0, 300, 689]) jobs.push(...await take(pipe, count))
  assert.deepEqual(texts(jobs), numbers(1000))
})

test('a loop that is left before it asked takes no job', limit, async t => {
  const pipe = await filled(t, 2)
  for (let i = 0; i < 5; i++) {
    const iterator = pipe.pull()
    const waiting = iterator.next()
    await iterator.return()
    assert.deepEqual(await waiting, done)
  }
  assert.deepEqual(texts(await take(pipe, 2)), ['0', '1'])
})

test('a throw in a loop body that is caught counts its job as done', limit, async t => {
  const pipe = await filled(t, 3)
  const failing = async () => {
    for await (const [message] of pipe.pull()) throw new Error(`failed at ${message}`)
  }
  await assert.rejects(failing(), { message: 'failed at 0' })
  assert.deepEqual(texts(await take(pipe, 2)), ['1', '2'])
})

test('several loops share the jobs, each job goes to exactly one', limit, async t => {
  const pipe = open(t, 'tcp://127.0.0.1:*')
  const taken = []
  const shares = await Promise.all([
    ...[0, 1, 2].map(async () => {
      let share = 0
      for await (const [message] of pipe.pull()) {
        taken.push(message.toString())
        share++
        if (taken.length === 3000) await pipe.close()
      }
      return share
    }),
    ...numbers(3000).map(number => pipe.push(number))
  ])

  assert.deepEqual(taken.sort((a, b) => a - b), numbers(3000))
  assert.ok(shares.slice(0, 3).every(share => share > 0), `each loop got some: ${shares.slice(0, 3)}`)
})

test('what one loop has not asked for goes to another when it leaves', limit, async t => {
  const pipe = await filled(t, 500)
  const first = pipe.pull()
  const second = pipe.pull()
  const jobs = [(await first.next()).value, (await second.next()).value]
  await first.return()
  for (let i = 2; i < 500; i++) jobs.push((await second.next()).value)
  assert.deepEqual(texts(jobs), numbers(500))
})

test('a waiting loop gets the job that the one before it in line no longer wants', limit, async t => {
  const pipe = open(t, inprocPlace())
  const [first, second] = [pipe.pull(), pipe.pull()]
  const [unwanted, wanted] = [first.next(), second.next()]
  assert.deepEqual(await standing(unwanted, wanted), ['pending', 'pending'])
  await first.return()
  await pipe.push('for the second')
  assert.deepEqual(texts([(await wanted).value]), ['for the second'])
  assert.deepEqual(await unwanted, done)
})

test('pull opens nothing before its first next', limit, async t => {
  const place = inprocPlace()
  const pipe = open(t, { pull: { bind: place } })
  const iterator = pipe.pull()
  await standing()
  assert.deepEqual(pipe.stats().pull.bound, [])
  const next = iterator.next()
  await pipe.ready()
  assert.deepEqual(pipe.stats().pull.bound, [place])
  await iterator.return()
  await next
})

test('a job that a loop has while it waits keeps no others in memory', limit, async t => {
  const [bytes, count] = [90, 600]
  const { pipe, address } = await pusher(t)
  for (let left = count; left > 0; left--) await pipe.push(Buffer.alloc(bytes))
  const iterator = open(t, { pull: { connect: address } }).pull({ prefetch: count })

  const sizes = []
  while (sizes.length < count) sizes.push((await iterator.next()).value[0].buffer.byteLength)

  // It has waited for the first, and will wait with the last. Each may keep so many times its size, if the slab that it has come in is as small.
  const most = 128 * bytes
  assert.ok(Math.max(...sizes) > most, 'they have come many at a time')
  assert.ok(Math.max(sizes[0], sizes.at(-1)) <= most, `the first in ${sizes[0]} bytes, the last in ${sizes.at(-1)}`)
})
