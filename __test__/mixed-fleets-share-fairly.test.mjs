// Workers with flow beside workers without: a plain one can always take one more, and gets no more than its turn all the same.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { pusher, requester } from './helpers/ends.mjs'
import { NO_LIMIT, dialPull } from './helpers/flow.mjs'
import { libzmq } from './helpers/libzmq.mjs'
import { open } from './helpers/open.mjs'
import { dialPlainWorker } from './helpers/raw-requests.mjs'
import { numbers } from './helpers/take.mjs'
import { until } from './helpers/until.mjs'

const limit = { timeout: 60_000 }

for (const [flow, plain] of [[2, 1], [5, 1], [1, 1], [1, 5], [8, 1], [1, 8], [8, 8]]) {
  test(`${flow} zeropipe and ${plain} plain workers: none of the plain ones gets more than 1.3 times its part`, limit, async t => {
    const { pipe, address } = await pusher(t)
    const done = []
    for (let i = 0; i < flow; i++) open(t, { pull: { connect: address } }).pull(async ([text]) => { await sleep(10); done.push(String(text)) })
    const plains = []
    for (let i = 0; i < plain; i++) plains.push(await dialPull(t, address, {}))
    await pipe.ready({ pullers: flow + plain })
    const each = 40
    const total = each * (flow + plain)
    for (const text of numbers(total)) await pipe.push(text)
    await pipe.drain()
    await until(() => done.length + plains.reduce((sum, { jobs }) => sum + jobs.length, 0) === total)
    const counts = plains.map(({ jobs }) => jobs.length)
    assert.ok(Math.max(...counts) <= 1.3 * each, `${counts} of ${total}`)
    assert.ok(Math.min(...counts) >= 0.5 * each, `${counts} of ${total}`)
  })

  test(`${flow} zeropipe and ${plain} plain repliers: none of the plain ones gets more than 1.3 times its part`, limit, async t => {
    const { pipe, address } = await requester(t)
    for (let i = 0; i < flow; i++) open(t, { reply: { connect: address } }).reply(async ([text]) => { await sleep(10); return text })
    const plains = []
    for (let i = 0; i < plain; i++) {
      const worker = await dialPlainWorker(t, address, 'ROUTER')
      const take = worker.frame
      worker.frame = function (frame) {
        const before = this.requests.length
        take.call(this, frame)
        if (this.requests.length > before) this.reply(this.requests.at(-1), 'plain')
      }
      plains.push(worker)
    }
    await pipe.ready({ repliers: flow + plain })
    const each = 40
    const total = each * (flow + plain)
    await Promise.all(numbers(total).map(text => pipe.request(text)))
    const counts = plains.map(({ requests }) => requests.length)
    assert.ok(Math.max(...counts) <= 1.3 * each, `${counts} of ${total}`)
    assert.ok(Math.min(...counts) >= 0.5 * each, `${counts} of ${total}`)
  })
}

test('a worker of zeromq.js beside two of zeropipe gets about a third', limit, async t => {
  const { pipe, address } = await pusher(t)
  const done = []
  for (let i = 0; i < 2; i++) open(t, { pull: { connect: address } }).pull(async ([text]) => { await sleep(10); done.push(String(text)) })
  const plain = libzmq(t, `
    const pull = new zmq.Pull()
    pull.connect('${address}')
    for await (const [text] of pull) {
      await new Promise(resolve => setTimeout(resolve, 10))
      console.log('done ' + text)
    }
  `)
  let lines = ''
  plain.child.stdout.on('data', text => { lines += text })
  await pipe.ready({ pullers: 3 })
  for (const text of numbers(90)) await pipe.push(text)
  const counted = () => lines.split('\n').length - 1
  await until(() => done.length + counted() === 90)
  assert.ok(counted() >= 15 && counted() <= 39, `${counted()} of 90`)
})

test('plain workers go on while no zeropipe worker settles anything', limit, async t => {
  const { pipe, address } = await pusher(t)
  const stuck = await dialPull(t, address)
  stuck.credit(1)
  const plain = await dialPull(t, address, {})
  await pipe.ready({ pullers: 2 })
  for (const text of numbers(200)) await pipe.push(text)
  await plain.get(199)
  assert.equal(stuck.jobs.length, 1)
})

test('plain workers take all where no zeropipe worker wants any', limit, async t => {
  const { pipe, address } = await pusher(t)
  const idle = await dialPull(t, address)
  const plain = await dialPull(t, address, {})
  await pipe.ready({ pullers: 2 })
  for (const text of numbers(2_000)) await pipe.push(text)
  await plain.get(2_000)
  // One that begins to want some gets its turn from then on.
  idle.credit(NO_LIMIT)
  await idle.ask()
  for (const text of numbers(1_000)) await pipe.push(text)
  await pipe.push('last')
  await until(() => idle.jobs.length + plain.jobs.length === 3_001)
  assert.ok(plain.jobs.length > 2_100 && idle.jobs.length > 100, `${plain.jobs.length} and ${idle.jobs.length}`)
})
