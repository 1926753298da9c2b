// A handshake has ten seconds. The one slow test there is about it: both directions at once.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { puller } from './helpers/ends.mjs'
import { happening } from './helpers/happening.mjs'
import { open } from './helpers/open.mjs'
import { dial, greeting, job, listen } from './helpers/raw-peer.mjs'
import { take, texts } from './helpers/take.mjs'

test('who does not shake hands within the deadline is refused, and others are served meanwhile', { timeout: 60_000 }, async t => {
  const { pipe, address } = await puller(t)
  const mute = await dial(t, address)
  const halfway = await dial(t, address)
  halfway.send(greeting())
  for (const peer of [mute, halfway]) peer.readOn()
  const told = []
  const both = new Promise(resolve => pipe.on('refused', event => { if (told.push(event) === 2) resolve() }))

  const listener = await listen(t)
  const worker = open(t, { pull: { connect: listener.address } })
  const got = take(worker, 1)
  const refused = happening(worker, 'refused')
  const silent = await listener.next()
  silent.readOn()

  const good = await dial(t, address)
  await good.handshake('PUSH')
  good.send(job('meanwhile'))
  assert.deepEqual(texts(await take(pipe, 1)), ['meanwhile'])

  await both
  for (const event of told) assert.deepEqual([event.end, event.code], ['pull', 'ERR_ZEROPIPE_TIMEOUT'])
  await Promise.all([mute.closed, halfway.closed])
  assert.equal(pipe.stats().pull.peers.length, 1)

  // The silent listener is dialled again.
  assert.equal((await refused).code, 'ERR_ZEROPIPE_TIMEOUT')
  const next = await listener.next()
  await next.handshake('PUSH')
  next.send(job('at last'))
  assert.deepEqual(texts(await got), ['at last'])
})
