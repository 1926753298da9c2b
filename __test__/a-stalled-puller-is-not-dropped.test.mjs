import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { pusher } from './helpers/ends.mjs'
import { happening } from './helpers/happening.mjs'
import { command, dial, ping } from './helpers/raw-peer.mjs'

// A puller whose queue is full stops reading, as libzmq does, and can't answer a PING that stands behind jobs. It may
// still have something to say: what it says is no sign that it has read the jobs.

const heartbeat = { interval: 400, timeout: 300 }
const SEVERAL_TIMEOUTS = 2 * (heartbeat.interval + heartbeat.timeout)

/** A pipe, and a raw PULL to which it has just sent a PING and then, behind it, a job. */
async function asked (t) {
  const { pipe, address } = await pusher(t, { heartbeat })
  const peer = await dial(t, address)
  const joined = happening(pipe, 'join')
  await peer.handshake('PULL')
  await joined
  const question = await peer.next()
  assert.equal(question.body.toString('latin1', 1, 5), 'PING')
  await pipe.push('job')
  assert.deepEqual(await peer.nextJob(), ['job'])
  const left = []
  pipe.on('leave', event => left.push(event))
  return { peer, left }
}

test('a puller that answers a PING from before the last job, and then nothing, is not dropped', { timeout: 30_000 }, async t => {
  const { peer, left } = await asked(t)
  peer.send(command('PONG'))
  peer.stall()
  // The passing of time is what is tested here, and below.
  await setTimeout(SEVERAL_TIMEOUTS)
  assert.deepEqual(left, [])
})

test('a puller that sends a PING behind jobs that it has not read is not dropped', { timeout: 30_000 }, async t => {
  const { peer, left } = await asked(t)
  peer.send(command('PONG'), ping())
  peer.stall()
  await setTimeout(SEVERAL_TIMEOUTS)
  assert.deepEqual(left, [])
})

test('an answer to the puller\'s own PING is not taken for a PING', { timeout: 30_000 }, async t => {
  const { peer, left } = await asked(t)
  peer.send(ping())
  const answer = await peer.next()
  assert.equal(answer.body.toString('latin1', 1), 'PONG')
  peer.send(command('PONG'))
  peer.stall()
  await setTimeout(SEVERAL_TIMEOUTS)
  assert.deepEqual(left, [])
})

test('a puller that has read everything and falls silent is dropped', { timeout: 30_000 }, async t => {
  const { pipe, address } = await pusher(t, { heartbeat })
  const peer = await dial(t, address)
  const left = happening(pipe, 'leave')
  await peer.handshake('PULL')
  await pipe.push('job')
  // The PONG to a PING that came behind the job tells that the job was read.
  for (let hasJob = false, isKnown = false; !isKnown;) {
    const frame = await peer.next()
    if (frame.command) {
      peer.send(command('PONG'))
      isKnown = hasJob
    } else {
      hasJob = true
    }
  }
  assert.equal((await left).code, 'ERR_ZEROPIPE_TIMEOUT')
})
