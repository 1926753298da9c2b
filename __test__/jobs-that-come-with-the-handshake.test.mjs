import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { puller } from './helpers/ends.mjs'
import { dial, greeting, job, ready } from './helpers/raw-peer.mjs'

test('a loop that waits gets a job that comes in one piece with the end of the handshake of a plain PUSH', { timeout: 20_000 }, async t => {
  const { pipe, address } = await puller(t)
  const loop = pipe.pull()
  for (const text of ['first', 'second', 'third']) {
    const next = loop.next()
    // Until nothing is left that the engine would look at by itself.
    await setTimeout(50)
    const peer = await dial(t, address)
    peer.send(greeting(), ready('PUSH'), job(text))
    assert.equal(String((await next).value[0]), text)
  }
  await loop.return()
})
