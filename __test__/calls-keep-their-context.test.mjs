// AsyncLocalStorage and async resources: handlers run in the context of whoever called pull or
// reply, listeners in that in which the pipe was made, and loops and promises keep that of whoever
// awaits.
import assert from 'node:assert/strict'
import { AsyncLocalStorage, createHook, executionAsyncId, triggerAsyncId } from 'node:async_hooks'
import { test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { pipe as makePipe } from '../index.js'
import { puller, pusher, replier } from './helpers/ends.mjs'
import { gate } from './helpers/gate.mjs'
import { open } from './helpers/open.mjs'
import { inprocPlace } from './helpers/place.mjs'
import { dial, job } from './helpers/raw-peer.mjs'
import { isNode } from './helpers/runtime.mjs'

const limit = { timeout: 30_000 }
const storage = new AsyncLocalStorage()
/** Outside of Node there are no hooks that tell of resources. */
const hooked = { ...limit, skip: !isNode && 'only Node tells of async resources' }

test('each handler of pull runs in the context of the call that registered it, however its jobs come', limit, async t => {
  const { pipe, address } = await pusher(t)
  const worker = open(t, { pull: address })
  const seen = []
  const all = gate()
  const handler = name => async () => {
    seen.push([name, storage.getStore(), 'at once'])
    await setTimeout(1)
    seen.push([name, storage.getStore(), 'later'])
    if (seen.length === 400) all.open()
  }
  storage.run('first', () => worker.pull(handler('first'), { concurrency: 3 }).catch(() => {}))
  storage.run('second', () => worker.pull(handler('second')).catch(() => {}))
  worker.pull(handler(undefined), { concurrency: 2 }).catch(() => {})
  await storage.run('the pusher', async () => { for (let i = 0; i < 200; i++) await pipe.push(i) })
  await all.passed

  for (const [name, store, when] of seen) assert.equal(store, name, when)
  assert.deepEqual(new Set(seen.map(([name]) => name)), new Set(['first', 'second', undefined]))
})

test('a handler of pull that is tried again, here or by the pusher, is in its context each time', limit, async t => {
  for (const isPlain of [false, true]) {
    const { pipe: worker, address } = await puller(t)
    const attempts = gate()
    const stores = []
    storage.run('context', () => worker.pull((job, { attempt }) => {
      stores.push(storage.getStore())
      if (attempt === 3) attempts.open()
      throw new Error('again')
    }).catch(() => {}))
    if (isPlain) {
      const peer = await dial(t, address)
      await peer.handshake('PUSH')
      await peer.flush(job('a job'))
    } else {
      await open(t, { push: { connect: address } }).push('a job')
    }
    await attempts.passed
    assert.deepEqual(stores.slice(0, 3), ['context', 'context', 'context'])
  }
})

test('each handler of reply runs in the context of the call that registered it', limit, async t => {
  const { pipe, address } = await replier(t)
  const handler = async ([text]) => {
    const before = storage.getStore()
    await setTimeout(1)
    return [text, before, storage.getStore()]
  }
  storage.run('replier', () => pipe.reply(handler, { concurrency: 4 }).catch(() => {}))
  const asker = open(t, { request: address })
  const replies = await Promise.all(Array.from({ length: 100 }, (_, i) => storage.run(`asker ${i}`, async () => {
    const reply = await asker.request(i)
    assert.equal(storage.getStore(), `asker ${i}`)
    return reply.map(String)
  })))
  assert.deepEqual(replies, replies.map((_, i) => [String(i), 'replier', 'replier']))
})

test('handlers that run side by side share nothing that they put into their context', limit, async t => {
  const { pipe, address } = await pusher(t)
  const mixed = []
  const all = gate()
  let left = 50
  open(t, { pull: address }).pull(async ([number]) => {
    storage.enterWith(String(number))
    await setTimeout(Number(number) % 7)
    if (storage.getStore() !== String(number)) mixed.push(String(number))
    if (--left === 0) all.open()
  }, { concurrency: 10 }).catch(() => {})
  for (let i = 0; i < 50; i++) await pipe.push(i)
  await all.passed
  assert.deepEqual(mixed, [])
  assert.equal(storage.getStore(), undefined)
})

test('loops and promises keep the context of whoever awaits', limit, async t => {
  const { pipe, address } = await pusher(t, { highWaterMark: { messages: 10 } })
  const worker = open(t, { pull: address })
  const seen = new Set()
  const pulling = ['one', 'two'].map(name => storage.run(name, async () => {
    for await (const [text] of worker.pull()) {
      seen.add(`${name} ${storage.getStore()}`)
      if (String(text) === 'end') break
    }
    assert.equal(storage.getStore(), name)
  }))
  await storage.run('pushing', async () => {
    for (let i = 0; i < 1000; i++) {
      await pipe.push(i)
      assert.equal(storage.getStore(), 'pushing')
    }
    await Promise.all(Array.from({ length: 100 }, (_, i) => pipe.push(i).then(() => assert.equal(storage.getStore(), 'pushing'))))
    await pipe.push('end')
    await pipe.push('end')
    await pipe.drain()
    assert.equal(storage.getStore(), 'pushing')
    await pipe.ready()
    assert.equal(storage.getStore(), 'pushing')
  })
  await Promise.all(pulling)
  assert.deepEqual([...seen].sort(), ['one one', 'two two'])
})

test('listeners run in the context in which their pipe was made, whoever has used it or listens', limit, async t => {
  const place = inprocPlace()
  const seen = {}
  const heard = gate()
  const pipe = storage.run('maker', () => open(t, { push: place, pull: { connect: place }, maxAttempts: 1 }))
  storage.run('listener', () => {
    for (const name of ['listening', 'join', 'dead']) {
      pipe.on(name, () => {
        seen[name] = storage.getStore()
        if (name === 'dead') heard.open()
      })
    }
  })
  await storage.run('first user', () => pipe.push('job'))
  storage.run('puller', () => pipe.pull(() => { throw new Error('no') }).catch(() => {}))
  await heard.passed
  assert.deepEqual(seen, { listening: 'maker', join: 'maker', dead: 'maker' })
})

test('each call of a handler is an async resource of its own, which its registration triggered, and ends with it', hooked, async t => {
  const { pipe, address } = await pusher(t)
  const { pipe: answering, address: at } = await replier(t)
  const made = new Map()
  const destroyed = new Set()
  const hook = createHook({
    init: (id, type, trigger) => { if (type.startsWith('zeropipe:')) made.set(id, { type, trigger }) },
    destroy: id => destroyed.add(id)
  }).enable()
  t.after(() => hook.disable())
  const calls = []
  const fails = gate()
  const handler = async ([text]) => {
    const id = executionAsyncId()
    calls.push({ id, trigger: triggerAsyncId() })
    await setTimeout(1)
    if (String(text) === 'fail') {
      if (calls.length === 11) fails.open()
      throw new Error('no')
    }
    return text
  }
  const worker = makePipe({ pull: address, maxAttempts: 1 })
  const handling = worker.pull(handler, { concurrency: 2 })
  for (let i = 0; i < 10; i++) await pipe.push(i)
  await pipe.push('fail')
  await fails.passed
  await Promise.all([worker.close(), handling])
  const pulled = calls.splice(0)
  const replying = answering.reply(handler)
  const asker = open(t, { request: at })
  for (let i = 0; i < 5; i++) await asker.request(i)
  await Promise.all([answering.close(), replying])
  await setTimeout(1) // destroy hooks are called in a turn of their own

  for (const [type, list, count] of [['zeropipe:pull', pulled, 11], ['zeropipe:reply', calls, 5]]) {
    assert.equal(new Set(list.map(({ id }) => id)).size, count)
    assert.equal(new Set(list.map(({ trigger }) => trigger)).size, 1)
    for (const { id, trigger } of list) {
      assert.deepEqual(made.get(id), { type, trigger })
      assert.equal(made.get(trigger).type, type)
      assert.ok(destroyed.has(id) && destroyed.has(trigger))
    }
  }
})
