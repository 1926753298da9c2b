import assert from 'node:assert/strict'
import { test } from 'node:test'
import { open } from './helpers/open.mjs'
import { inprocPlace, ipcPlace } from './helpers/place.mjs'
import { numbers, take, texts } from './helpers/take.mjs'

const limit = { timeout: 30_000 }
const places = { tcp: () => 'tcp://127.0.0.1:*', ipc: ipcPlace, inproc: inprocPlace }

for (const [transport, place] of Object.entries(places)) {
  test(`concurrent calls keep their order over ${transport}`, limit, async t => {
    const pipe = open(t, place())
    const pushes = numbers(10_000).map(number => pipe.push(number))

    const received = await take(pipe, 10_000)

    await Promise.all(pushes)
    assert.deepEqual(texts(received), numbers(10_000))
  })

  test(`jobs of all sizes keep their order and their bytes over ${transport}`, limit, async t => {
    const pipe = open(t, place())
    const sizes = [0, 1, 100, 255, 256, 8_000, 65_535, 65_536, 65_537, 200_000, 1 << 20, 3, 3 << 20, 12, 64 << 10]
    const jobs = Array.from({ length: 60 }, (_, i) => [String(i), Buffer.alloc(sizes[i % sizes.length], i)])
    const pushes = jobs.map(job => pipe.push(job))

    const received = await take(pipe, jobs.length)

    await Promise.all(pushes)
    received.forEach(([number, bytes], i) => {
      assert.equal(number.toString(), String(i))
      assert.ok(bytes.equals(jobs[i][1]), `the bytes of job ${i}`)
    })
  })
}

test('calls of every kind keep their order among each other', limit, async t => {
  const pipe = open(t, 'tcp://127.0.0.1:*')
  const { signal } = new AbortController()
  const ways = [
    i => pipe.push(String(i)),
    i => pipe.push(i),
    i => pipe.push([i]),
    i => pipe.push([String(i), 'more']),
    i => pipe.push(String(i), { signal }),
    i => pipe.push(Buffer.from(String(i))),
    i => pipe.push(new DataView(new Uint8Array(Buffer.from(String(i))).buffer)),
    i => pipe.push([i, Buffer.alloc(100_000)])
  ]
  await pipe.push('0') // from now on the end is open
  const pushes = numbers(2_000).slice(1).map(number => ways[number % ways.length](Number(number)))

  const received = await take(pipe, 2_000)

  await Promise.all(pushes)
  assert.deepEqual(texts(received), numbers(2_000))
})

test('calls that wait for room keep their order, whatever their sizes', limit, async t => {
  const pipe = open(t, { push: 'tcp://127.0.0.1:*', highWaterMark: { messages: 3, bytes: 1000 } })
  const order = []
  const pushes = numbers(200).map(number => pipe
    .push([number, Buffer.alloc(number % 7 * 200)])
    .then(() => order.push(number)))
  await pipe.ready()
  const worker = open(t, { pull: pipe.stats().push.bound[0] })

  const received = await take(worker, 200)

  await Promise.all(pushes)
  assert.deepEqual(texts(received), numbers(200))
  assert.deepEqual(order, numbers(200))
})

test('a call made while an end opens comes before one made after', limit, async t => {
  const pipe = open(t, inprocPlace())
  const opening = pipe.ready()
  const early = [pipe.push('0'), pipe.push(['1', 'x']), pipe.push('2')]
  await opening
  const late = [pipe.push('3'), pipe.push('4')]

  assert.deepEqual(texts(await take(pipe, 5)), numbers(5))
  await Promise.all([...early, ...late])
})
