import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { foreign } from './helpers/foreign.mjs'
import { happening } from './helpers/happening.mjs'
import { interop } from './helpers/interop.mjs'
import { open } from './helpers/open.mjs'
import { noPython as skip, python } from './helpers/python.mjs'

const script = name => fileURLToPath(new URL(`pyzmq/${name}.py`, import.meta.url))

interop('pyzmq', {
  push: [python, '-B', script('push')],
  pull: [python, '-B', script('pull')],
  smallQueue: { RCVHWM: 2 },
  skip
})

// Its own PING is heard while it reads nothing of ours, and says nothing about when it will.
test('a PULL of pyzmq that has stopped reading is not dropped because it sends PINGs', { skip, timeout: 60_000 }, async t => {
  const heartbeat = { interval: 100, timeout: 300 }
  const pipe = open(t, { push: { bind: 'tcp://127.0.0.1:*' }, heartbeat })
  await pipe.ready()
  const joined = happening(pipe, 'join')
  const peer = foreign(t, python, ['-B', script('pull')], {
    connect: pipe.stats().push.bound[0],
    count: 201,
    pauseAfter: 1,
    socket: { RCVHWM: 2, HEARTBEAT_IVL: 1_000, HEARTBEAT_TIMEOUT: 60_000 }
  })
  await joined
  const endings = []
  for (const name of ['leave', 'refused']) pipe.on(name, event => endings.push({ name, ...event }))
  for (let index = 0; index < 201; index++) await pipe.push(`job ${index}`)
  await peer.heard('paused')
  await setTimeout(2_500)

  assert.deepEqual(endings, [])
  peer.say('read on')
  assert.equal((await peer.heard('tally')).count, 201)
})
