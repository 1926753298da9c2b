import assert from 'node:assert/strict'
import { test } from 'node:test'
import { open } from './helpers/open.mjs'
import { inprocPlace, ipcPlace } from './helpers/place.mjs'
import { standing } from './helpers/settle.mjs'

const limit = { timeout: 10_000 }

test('ready opens every end and resolves when each bind listens', limit, async t => {
  const [ipc, inproc] = [ipcPlace(), inprocPlace()]
  const pipe = open(t, { push: { bind: ['tcp://127.0.0.1:*', 'tcp://127.0.0.1:0', ipc] }, pull: { bind: [inproc, 'tcp://[::1]:*'] } })
  assert.equal(await pipe.ready(), undefined)

  const { push, pull } = pipe.stats()
  assert.match(push.bound[0], /^tcp:\/\/127\.0\.0\.1:[1-9]\d+$/)
  assert.match(push.bound[1], /^tcp:\/\/127\.0\.0\.1:[1-9]\d+$/)
  assert.notEqual(push.bound[0], push.bound[1])
  assert.equal(push.bound[2], ipc)
  assert.equal(pull.bound[0], inproc)
  assert.match(pull.bound[1], /^tcp:\/\/\[::1\]:[1-9]\d+$/)
})

test('ready does not wait for peers that nobody asked for', limit, async t => {
  const pipe = open(t, { push: { connect: 'tcp://127.0.0.1:1' }, pull: { connect: inprocPlace() } })
  await pipe.ready()
  await pipe.ready({})
  await pipe.ready({ pullers: 0, pushers: 0 })
  assert.deepEqual(pipe.stats().push.peers, [])
})

test('asked for pullers, ready resolves when that many are connected', limit, async t => {
  const pusher = open(t, { push: 'tcp://127.0.0.1:*' })
  await pusher.ready()
  const [address] = pusher.stats().push.bound
  const one = pusher.ready({ pullers: 1 })
  const two = pusher.ready({ pullers: 2 })
  assert.deepEqual(await standing(one, two), ['pending', 'pending'])
  await open(t, { pull: address }).ready()
  await one
  assert.deepEqual(await standing(two), ['pending'])
  await open(t, { pull: address }).ready()
  await two
  assert.equal(pusher.stats().push.peers.length, 2)
})

test('asked for pushers, ready resolves when that many are connected', limit, async t => {
  const worker = open(t, { pull: { bind: ipcPlace() } })
  await worker.ready()
  const [address] = worker.stats().pull.bound
  const both = worker.ready({ pushers: 2 })
  const pushers = [1, 2].map(() => open(t, { push: { connect: address } }))
  assert.deepEqual(await standing(both), ['pending'])
  await Promise.all(pushers.map(pusher => pusher.ready({ pullers: 1 })))
  await both
  assert.equal(worker.stats().pull.peers.length, 2)
})

test('asked for both, ready resolves when both are there', limit, async t => {
  const pipe = open(t, { push: inprocPlace(), pull: { bind: inprocPlace() } })
  const both = pipe.ready({ pullers: 1, pushers: 1 })
  await pipe.ready()
  const worker = open(t, { pull: pipe.stats().push.bound[0] })
  await worker.ready({ pushers: 1 })
  assert.deepEqual(await standing(both), ['pending'])
  await open(t, { push: { connect: pipe.stats().pull.bound[0] } }).ready()
  await both
})

test('a pipe of one address meets itself', limit, async t => {
  const pipe = open(t, 'tcp://127.0.0.1:*')
  await pipe.ready({ pullers: 1, pushers: 1 })
  assert.equal(pipe.stats().push.peers.length, 1)
  assert.equal(pipe.stats().pull.peers.length, 1)
})

test('ready can be aborted before and while it waits', limit, async t => {
  const pipe = open(t, { push: inprocPlace() })
  const reason = new Error('too late')
  await assert.rejects(pipe.ready({ signal: AbortSignal.abort(reason) }), error => error === reason)
  assert.deepEqual(pipe.stats().push.bound, [])

  const controller = new AbortController()
  const waiting = pipe.ready({ pullers: 1, signal: controller.signal })
  assert.deepEqual(await standing(waiting), ['pending'])
  controller.abort(reason)
  await assert.rejects(waiting, error => error === reason)
  await assert.rejects(pipe.ready({ pullers: 1, signal: AbortSignal.timeout(20) }), { name: 'TimeoutError' })
})

test('ready rejects when the pipe closes meanwhile, and after', limit, async t => {
  const pipe = open(t, { push: inprocPlace() })
  const waiting = pipe.ready({ pullers: 1 })
  await standing(waiting)
  await pipe.close()
  await assert.rejects(waiting, { code: 'ERR_ZEROPIPE_CLOSED' })
  await assert.rejects(pipe.ready(), { code: 'ERR_ZEROPIPE_CLOSED' })
})
