import assert from 'node:assert/strict'
import { test } from 'node:test'
import { open } from './helpers/open.mjs'
import { inprocPlace } from './helpers/place.mjs'
import { dial, job } from './helpers/raw-peer.mjs'
import { standing } from './helpers/settle.mjs'
import { numbers, take, texts } from './helpers/take.mjs'

const limit = { timeout: 30_000 }

test('batches have from one to so many jobs, and lose and repeat none', limit, async t => {
  for (const most of [1, 7, 100, 5000]) {
    const pipe = open(t, 'tcp://127.0.0.1:*')
    const pushes = numbers(2000).map(number => pipe.push(number))
    const sizes = []
    const jobs = []
    for await (const batch of pipe.pull({ batch: most })) {
      sizes.push(batch.length)
      jobs.push(...batch)
      if (jobs.length === 2000) break
    }
    await Promise.all(pushes)
    assert.ok(Math.min(...sizes) >= 1 && Math.max(...sizes) <= most, `${sizes}`)
    assert.deepEqual(texts(jobs), numbers(2000))
  }
})

test('a batch takes the jobs that are there', limit, async t => {
  const pipe = open(t, inprocPlace())
  for (const number of numbers(100)) await pipe.push(number)
  const [first] = await take(pipe, 1) // the others have arrived with it
  const [batch] = await take(pipe, 1, { batch: 50 })
  assert.equal(batch.length, 50)
  assert.deepEqual(texts([first, ...batch]), numbers(51))
})

test('a batch does not wait for more jobs than there are', limit, async t => {
  const pipe = open(t, inprocPlace())
  const iterator = pipe.pull({ batch: 10 })
  const first = iterator.next()
  assert.deepEqual(await standing(first), ['pending'])
  await pipe.push(['one', 'two'])
  assert.deepEqual((await first).value, [[Buffer.from('one'), Buffer.from('two')]])
})

test('break between batches loses nothing', limit, async t => {
  const pipe = open(t, inprocPlace())
  for (const number of numbers(100)) await pipe.push(number)
  const jobs = []
  while (jobs.length < 100) jobs.push(...(await take(pipe, 1, { batch: 9 }))[0])
  assert.deepEqual(texts(jobs), numbers(100))
})

test('info tells the id, the attempt and who sent the job', limit, async t => {
  const worker = open(t, { pull: { bind: 'tcp://127.0.0.1:*' } })
  await worker.ready()
  const [address] = worker.stats().pull.bound
  const ada = open(t, { push: { connect: address }, identity: 'ada' })
  const nobody = open(t, { push: { connect: address } })
  await Promise.all([ada.ready({ pullers: 1 }), nobody.ready({ pullers: 1 })])
  await worker.ready({ pushers: 2 })
  for (let i = 0; i < 50; i++) {
    await ada.push(['from', 'ada'])
    await nobody.push(['from', ''])
  }

  const informed = await take(worker, 100, { info: true })

  const { peers } = worker.stats().pull
  const addressOf = identity => peers.find(peer => peer.identity === identity).address
  for (const { job: [, name], id, attempt, from } of informed) {
    assert.equal(typeof id, 'string')
    assert.equal(attempt, 1)
    assert.deepEqual(from, { address: addressOf(name.toString()), identity: name.toString() })
    assert.match(from.address, /^tcp:\/\/127\.0\.0\.1:\d+$/)
  }
  assert.equal(new Set(informed.map(({ id }) => id)).size, 100)
  assert.equal(informed.filter(({ from }) => from.identity === 'ada').length, 50)
})

/** Those who push the same numbers under three names. */
const names = ['a', 'b', 'c']
const pushers = {
  zeropipe: async (t, address) => {
    const pipes = names.map(identity => open(t, { push: { connect: address }, identity }))
    await Promise.all(pipes.map(pipe => pipe.ready({ pullers: 1 })))
    await Promise.all(pipes.flatMap((pipe, index) => numbers(300).map(number => pipe.push([names[index], number]))))
  },
  plain: async (t, address) => {
    for (const name of names) {
      const peer = await dial(t, address)
      await peer.handshake('PUSH', { properties: { Identity: name } })
      await peer.flush(...numbers(300).map(number => job(name, number)))
    }
  }
}

for (const [kind, push] of Object.entries(pushers)) {
  test(`info holds for jobs of ${kind} pushers that wait in the slab while others are asked about`, limit, async t => {
    const worker = open(t, { pull: { bind: 'tcp://127.0.0.1:*' } })
    await worker.ready()
    await push(t, worker.stats().pull.bound[0])
    const [silent, informed] = [worker.pull(), worker.pull({ info: true })]
    const seen = []
    const ids = new Set()
    for (let i = 0; i < 900; i++) {
      const { value } = await (i % 3 === 0 ? silent : informed).next()
      const [name, number] = value.job ?? value
      seen.push(`${name} ${number}`)
      if (value.job === undefined) continue
      assert.equal(value.from.identity, name.toString())
      ids.add(value.id)
      // A zeropipe pusher numbers its jobs in the order in which they were pushed.
      if (kind === 'zeropipe') assert.equal(Number(value.id.split('-')[1]) % 2 ** 24, Number(number) + 1)
    }
    assert.equal(ids.size, 600)
    // Each loop has jobs at hand, so the two together have no order; but none is lost, and none comes twice.
    assert.deepEqual(seen.toSorted(), names.flatMap(name => numbers(300).map(number => `${name} ${number}`)).toSorted())
  })
}

test('an identity of 255 bytes of UTF-8 arrives', limit, async t => {
  const identity = 'ż'.repeat(127) + 'x'
  const worker = open(t, { pull: { bind: 'tcp://127.0.0.1:*' } })
  await worker.ready()
  const pusher = open(t, { push: { connect: worker.stats().pull.bound[0] }, identity })
  await pusher.push('hello')
  const [{ from }] = await take(worker, 1, { info: true })
  assert.equal(from.identity, identity)
})
