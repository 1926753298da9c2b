import assert from 'node:assert/strict'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { pipe as makePipe } from '../index.js'
import { open } from './helpers/open.mjs'
import { inprocPlace, ipcPlace } from './helpers/place.mjs'
import { take, texts } from './helpers/take.mjs'

const limit = { timeout: 10_000 }

for (const [transport, place] of Object.entries({ tcp: () => 'tcp://127.0.0.1:*', ipc: ipcPlace, inproc: inprocPlace })) {
  test(`a second bind over ${transport} is EADDRINUSE, says where and what helps, and works once the first is gone`, limit, async t => {
    const first = makePipe({ push: place() })
    await first.ready()
    const [address] = first.stats().push.bound
    const second = open(t, { push: { bind: ['tcp://127.0.0.1:*', address] } })
    const inUse = error => {
      assert.ok(error instanceof Error)
      assert.equal(error.code, 'EADDRINUSE')
      assert.ok(error.message.includes(address), error.message)
      assert.ok(error.message.includes('pipe({ push: { connect }, pull: { bind } })'), error.message)
      return true
    }

    const waiting = [second.push('lost 1'), second.push(['lost', '2']), second.push('lost 3', {}), second.ready()]
    for (const call of waiting) await assert.rejects(call, inUse)
    await assert.rejects(second.push('lost 4'), inUse)
    await assert.rejects(second.ready(), inUse)
    assert.deepEqual([second.stats().push.queued, second.stats().push.bound], [0, []])

    await first.close()
    await second.push('kept')
    assert.equal(second.stats().push.queued, 1)
    assert.ok(second.stats().push.bound.includes(address))
    assert.deepEqual(texts(await take(open(t, { pull: address }), 1)), ['kept'])
  })
}

test('a pull end that can not bind rejects next, and the next one tries again', limit, async t => {
  const first = makePipe({ pull: { bind: 'tcp://127.0.0.1:*' } })
  await first.ready()
  const [address] = first.stats().pull.bound
  const second = open(t, { pull: { bind: address } })
  const iterator = second.pull()
  const inUse = { code: 'EADDRINUSE' }
  const waiting = [iterator.next(), iterator.next(), second.pull(() => {})]
  for (const call of waiting) await assert.rejects(call, inUse)
  await assert.rejects(async () => { for await (const job of second.pull()) assert.fail(`got ${job}`) }, inUse)

  await first.close()
  const next = iterator.next()
  await second.ready()
  await open(t, { push: { connect: address } }).push('at last')
  assert.deepEqual(texts([(await next).value]), ['at last'])
})

test('an end that fails leaves the other end alone', limit, async t => {
  const first = open(t, { push: 'tcp://127.0.0.1:*' })
  await first.ready()
  const place = inprocPlace()
  const second = open(t, { push: first.stats().push.bound[0], pull: { bind: place } })
  const next = second.pull().next()
  await assert.rejects(second.push('job'), { code: 'EADDRINUSE' })
  await open(t, { push: { connect: place } }).push('for the pull end')
  assert.deepEqual(texts([(await next).value]), ['for the pull end'])
})

const impossible = {
  ENOENT: `ipc://${join(tmpdir(), `zeropipe-no-directory-${process.pid}`, 'socket')}`,
  EADDRNOTAVAIL: 'tcp://192.0.2.1:7777'
}

for (const [code, address] of Object.entries(impossible)) {
  test(`a place that the system refuses is ${code}, with the address in the text`, limit, async t => {
    const refused = error => {
      assert.equal(error.code, code)
      assert.ok(error.message.includes(address), error.message)
      return true
    }
    const pusher = open(t, { push: address })
    for (let i = 0; i < 2; i++) await assert.rejects(pusher.push('job'), refused)
    await assert.rejects(pusher.ready(), refused)
    const worker = open(t, { pull: { bind: address } })
    for (let i = 0; i < 2; i++) await assert.rejects(worker.pull().next(), refused)
  })
}

test('a name that no resolver knows is an error of the bind with the address in the text', limit, async t => {
  const pusher = open(t, { push: 'tcp://no-such-host.invalid:7777' })
  await assert.rejects(pusher.push('job'), error => {
    assert.ok(typeof error.code === 'string' && error.code !== '' && error.code !== 'ERR_ZEROPIPE_INTERNAL', error.code)
    assert.ok(error.message.includes('tcp://no-such-host.invalid:7777'), error.message)
    return true
  })
})

test('a pipe whose bind failed can be closed', limit, async () => {
  const pusher = makePipe({ push: impossible.ENOENT })
  await assert.rejects(pusher.push('job'), { code: 'ENOENT' })
  await pusher.close()
  await assert.rejects(pusher.push('job'), { code: 'ERR_ZEROPIPE_CLOSED' })
})
