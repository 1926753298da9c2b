import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { foreign } from './foreign.mjs'
import { happening } from './happening.mjs'
import { mix } from './mix.mjs'
import { open } from './open.mjs'
import { Tally } from './tally.mjs'

const ANY_PORT = 'tcp://127.0.0.1:*'
const heartbeat = { interval: 100, timeout: 400 }
/** Long enough for a link to be given up, several times. */
const SEVERAL_TIMEOUTS = 5 * (heartbeat.interval + heartbeat.timeout)

/**
 * The tests that hold for every ZeroMQ program at the other end. `push` and `pull` are the command lines of one. They
 * are given options as JSON: `bind` or `connect` (an address) and `socket` (options of the socket); for push `mix` (how
 * many mixed jobs to send; without it, each line of the input is a job); for pull `count` (how many jobs to take),
 * `pauseAfter` (how many of them before it stops reading until there is input) and `prints` (tell each job).
 */
export function interop (name, { push, pull, smallQueue, skip = false }) {
  const options = { skip, timeout: 60_000 }
  const run = (t, [command, ...args], options) => foreign(t, command, args, options)

  for (const binds of [true, false]) {
    const who = binds ? 'zeropipe binds' : `${name} binds`

    test(`${name} takes jobs of every kind from zeropipe: ${who}`, options, async t => {
      const { pipe, peer } = await pushTo(t, binds, pull, { count: 600 })
      assert.deepEqual(await pushAll(pipe, mix(600)), await peer.heard('tally'))
    })

    test(`${name} hands jobs of every kind to zeropipe: ${who}`, options, async t => {
      const { pipe, peer } = await pullFrom(t, binds, push, { mix: 600 })
      assert.deepEqual(await pullAll(pipe, 600), await peer.heard('tally'))
    })
  }

  test(`thirty thousand jobs reach ${name} in order and byte for byte`, options, async t => {
    const { pipe, peer } = await pushTo(t, true, pull, { count: 30_000 })
    assert.deepEqual(await pushAll(pipe, mix(30_000)), await peer.heard('tally'))
  })

  test(`thirty thousand jobs of ${name} arrive in order and byte for byte`, options, async t => {
    const { pipe, peer } = await pullFrom(t, true, push, { mix: 30_000 })
    assert.deepEqual(await pullAll(pipe, 30_000), await peer.heard('tally'))
  })

  test(`an idle link to ${name} outlives the heartbeat timeout in both directions`, options, async t => {
    const out = await pushTo(t, true, pull, { count: 3, prints: true }, { heartbeat })
    const back = await pullFrom(t, true, push, {}, { heartbeat })
    const arrivals = back.pipe.pull()
    const left = endings(out.pipe, back.pipe)
    for (const text of ['before', 'after']) {
      await out.pipe.push(text)
      assert.deepEqual(await out.peer.heard('job'), [text])
      back.peer.say(text)
      assert.deepEqual((await arrivals.next()).value.map(String), [text])
      // The passing of time is what is tested here.
      if (text === 'before') await setTimeout(SEVERAL_TIMEOUTS)
    }
    assert.deepEqual(left, [])
  })

  // Either the connection is stuffed with jobs, or it has room and only the peer's own queue is full.
  for (const [how, count, size] of [['many', 3_000, 16_000], ['few', 200, 10]]) {
    test(`a PULL of ${name} that has stopped reading, with ${how} jobs under way, is not dropped and gets all of them`, options, async t => {
      const total = count + 1
      const { pipe, peer } = await pushTo(t, true, pull, { count: total, pauseAfter: 1, socket: smallQueue }, { heartbeat })
      const left = endings(pipe)
      const first = Buffer.from('the first')
      await pipe.push(first)
      await peer.heard('paused')
      const jobs = Array.from({ length: count }, (_, index) => [Buffer.alloc(size, String(index))])
      await pushAll(pipe, jobs)
      await setTimeout(SEVERAL_TIMEOUTS)

      assert.deepEqual(left, [])
      assert.equal(pipe.stats().push.queued > 0, how === 'many')
      peer.say('read on')
      const tally = new Tally()
      for (const job of [[first], ...jobs]) tally.add(job)
      assert.deepEqual(await peer.heard('tally'), tally.get())
    })
  }

  /** A pipe that pushes, and a peer that pulls, connected. */
  async function pushTo (t, binds, command, options, more) {
    return await connect(t, binds, 'push', command, options, more)
  }

  /** A pipe that pulls, and a peer that pushes, connected. */
  async function pullFrom (t, binds, command, options, more) {
    return await connect(t, binds, 'pull', command, options, more)
  }

  async function connect (t, binds, end, command, options, more = {}) {
    if (binds) {
      const pipe = open(t, { ...more, [end]: { bind: ANY_PORT } })
      await pipe.ready()
      const joined = happening(pipe, 'join')
      const peer = run(t, command, { ...options, connect: pipe.stats()[end].bound[0] })
      await Promise.race([joined, peer.heard('nothing')])
      return { pipe, peer }
    }
    const peer = run(t, command, { ...options, bind: ANY_PORT })
    const pipe = open(t, { ...more, [end]: { connect: await peer.heard('address') } })
    await pipe.ready({ [end === 'push' ? 'pullers' : 'pushers']: 1 })
    return { pipe, peer }
  }
}

/** Pushes jobs and tallies them. */
async function pushAll (pipe, jobs) {
  const tally = new Tally()
  for (const job of jobs) {
    tally.add(job)
    await pipe.push(job)
  }
  return tally.get()
}

/** Takes so many jobs and tallies them. */
async function pullAll (pipe, count) {
  const tally = new Tally()
  let left = count
  for await (const job of pipe.pull()) {
    tally.add(job)
    if (--left === 0) break
  }
  return tally.get()
}

/** Where the connections that end from now on are noted. */
function endings (...pipes) {
  const endings = []
  for (const pipe of pipes) {
    for (const name of ['leave', 'refused']) pipe.on(name, event => endings.push({ name, ...event }))
  }
  return endings
}
