// REQ, REP, DEALER and ROUTER of other libraries at the other end of request and reply.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { replier, requester } from './helpers/ends.mjs'
import { foreign } from './helpers/foreign.mjs'
import { gate } from './helpers/gate.mjs'
import { happening, warning } from './helpers/happening.mjs'
import { mix } from './helpers/mix.mjs'
import { open } from './helpers/open.mjs'
import { ipcPlace } from './helpers/place.mjs'
import { noPython, python } from './helpers/python.mjs'
import { dial, job as message } from './helpers/raw-peer.mjs'
import { node } from './helpers/runtime.mjs'
import { standing } from './helpers/settle.mjs'
import { numbers, texts } from './helpers/take.mjs'
import { until } from './helpers/until.mjs'

// In processes of their own and always with Node: zeromq.js runs nowhere else.
const script = name => fileURLToPath(new URL(name, import.meta.url))
const LIBRARIES = {
  pyzmq: { skip: noPython, command: python, args: name => ['-B', script(`pyzmq/${name}.py`)] },
  'zeromq.js': { skip: false, command: node, args: name => [script(`zeromq/${name}.mjs`)] }
}
const PLACES = { tcp: () => 'tcp://127.0.0.1:*', ipc: ipcPlace }
const COUNT = 400
const echo = job => job

for (const [name, { skip, command, args }] of Object.entries(LIBRARIES)) {
  const options = { skip, timeout: 60_000 }
  const peer = (t, role, given) => foreign(t, command, args(role), given)

  /** A pipe with one end and a peer, one of which listens. */
  async function meet (t, end, binds, place, role, given, more = {}) {
    if (binds) {
      const { pipe, address } = await (end === 'reply' ? replier : requester)(t, more, place())
      return { pipe, peer: peer(t, role, { ...given, connect: address }) }
    }
    const other = peer(t, role, { ...given, bind: place() })
    return { pipe: open(t, { ...more, [end]: { connect: await other.heard('address') } }), peer: other }
  }

  for (const [transport, place] of Object.entries(PLACES)) {
    for (const binds of [true, false]) {
      const who = `${transport}, ${binds ? 'zeropipe' : name} binds`

      for (const kind of ['REQ', 'DEALER']) {
        test(`a ${kind} of ${name} gets back from reply what it has asked: ${who}`, options, async t => {
          const { pipe, peer } = await meet(t, 'reply', binds, place, 'requester', { kind, mix: COUNT })
          pipe.reply(echo, { concurrency: 8 })
          assert.equal(await peer.heard('right'), COUNT)
          assert.equal(pipe.stats().reply.received, COUNT)
        })
      }

      for (const [kind, holds] of [['REP', 1], ['ROUTER', 1], ['ROUTER', 10]]) {
        test(`request gets back from a ${kind} of ${name} what it has asked${holds > 1 ? ', in whatever order' : ''}: ${who}`, options, async t => {
          const { pipe } = await meet(t, 'request', binds, place, 'replier', { kind, holds })
          const jobs = [...mix(COUNT)]
          const replies = await Promise.all(jobs.map(job => pipe.request(job, { timeout: 50_000 })))
          replies.forEach((reply, index) => assert.ok(reply.length === jobs[index].length && reply.every((frame, at) => frame.equals(jobs[index][at])), `job ${index}`))
          const { done, queued, inFlight } = pipe.stats().request
          assert.deepEqual({ done, queued, inFlight }, { done: COUNT, queued: 0, inFlight: 0 })
        })
      }
    }
  }

  test(`several peers of ${name} at once are answered, each for itself`, options, async t => {
    const { pipe: far, address } = await replier(t)
    far.reply(echo, { concurrency: 5 })
    const crew = ['REQ', 'DEALER', 'REQ', 'DEALER'].map(kind => peer(t, 'requester', { kind, mix: 100, connect: address }))
    assert.deepEqual(await Promise.all(crew.map(one => one.heard('right'))), [100, 100, 100, 100])
  })

  for (const kind of ['REP', 'ROUTER']) {
    test(`several ${kind} of ${name} share the requests`, options, async t => {
      const { pipe: near, address } = await requester(t)
      const crew = numbers(3).map(() => peer(t, 'replier', { kind, connect: address, prints: true }))
      await near.ready({ repliers: 3 })
      const asked = numbers(6).map(number => near.request(number))
      const got = await Promise.all(crew.map(async one => [(await one.heard('request')).at(-1), (await one.heard('request')).at(-1)]))
      assert.deepEqual(got.flat().sort(), numbers(6))
      assert.deepEqual(texts(await Promise.all(asked)), numbers(6))
    })

    test(`a ${kind} of ${name} that dies: what it had rejects with ERR_ZEROPIPE_TIMEOUT`, options, async t => {
      const { pipe: near, address } = await requester(t)
      const left = happening(near, 'leave')
      const one = peer(t, 'replier', { kind, connect: address, dies: true })
      const asked = near.request('lost', { timeout: 3_000 })
      await one.heard('request')
      await left
      await assert.rejects(asked, { code: 'ERR_ZEROPIPE_TIMEOUT' })
    })
  }

  test(`a ROUTER of ${name} knows a requester by its identity`, options, async t => {
    const { pipe, peer } = await meet(t, 'request', true, PLACES.tcp, 'replier', { kind: 'ROUTER', prints: true }, { identity: 'the asker' })
    assert.deepEqual(texts([await pipe.request('who')]), ['who'])
    const [identity, , delimiter, body] = await peer.heard('request')
    assert.deepEqual([identity, delimiter, body], ['the asker', '', 'who'])
  })

  test(`a DEALER of ${name} gets its envelope back unchanged, whatever it is, and empty frames in the body too`, options, async t => {
    const { pipe: far, address } = await replier(t)
    const jobs = []
    far.reply(job => { jobs.push(job.map(String)); return job })
    const one = peer(t, 'requester', { kind: 'DEALER', connect: address })
    for (const frames of [['', 'x'], ['', ''], ['', '', ''], ['a', '', 'x'], ['a', 'b', 'c', '', '', 'x', ''], [...numbers(500), '', ...numbers(523)]]) {
      one.say(JSON.stringify(frames))
      assert.deepEqual(await one.heard('reply'), frames)
      assert.deepEqual(jobs.at(-1), frames.slice(frames.indexOf('') + 1))
    }
  })

  test(`what a DEALER of ${name} sends without a delimiter is ignored and told, and its other requests are answered`, options, async t => {
    const { pipe: far, address } = await replier(t)
    const jobs = []
    const handling = far.reply(job => { jobs.push(job.map(String)); return job })
    const refused = []
    far.on('refused', event => refused.push(event))
    const one = peer(t, 'requester', { kind: 'DEALER', connect: address })
    const wrong = [['x'], ['x', 'y'], [''], ['x', ''], ['x', 'y', '']]
    for (const frames of wrong) {
      one.say(JSON.stringify(frames))
      one.say(JSON.stringify(['', `after ${frames.length}`]))
      assert.deepEqual(await one.heard('reply'), ['', `after ${frames.length}`])
    }
    assert.equal(jobs.length, wrong.length)
    assert.equal(refused.length, wrong.length)
    for (const { end, code, address, reason } of refused) {
      assert.deepEqual([end, code], ['reply', 'ERR_ZEROPIPE_PROTOCOL'])
      assert.ok(address.startsWith('tcp://127.0.0.1:') && reason !== '')
    }
    assert.equal(far.stats().reply.peers.length, 1)
    await far.close()
    await handling
  })

  for (const [how, code, handler] of [
    ['throws', 'E_PURPOSE', () => { throw Object.assign(new Error('on purpose'), { code: 'E_PURPOSE' }) }],
    ['returns no reply', 'ERR_ZEROPIPE_INVALID_JOB', () => {}],
    ['returns too much', 'ERR_ZEROPIPE_MESSAGE_TOO_LARGE', () => Array(1024).fill('')]
  ]) {
    test(`a handler that ${how} for a DEALER of ${name}: the event dead, once, and others are answered`, options, async t => {
      const { pipe: far, address } = await replier(t)
      far.reply(job => String(job[0]) === 'fail' ? handler() : job)
      const dead = []
      far.on('dead', event => dead.push(event))
      const one = peer(t, 'requester', { kind: 'DEALER', connect: address })
      one.say('["a", "", "fail", "more"]')
      one.say('["b", "", "next"]')
      assert.deepEqual(await one.heard('reply'), ['b', '', 'next'])
      assert.deepEqual(dead.map(({ job, attempt }) => [job.map(String), attempt]), [[['fail', 'more'], 1]])
      assert.ok(dead[0].error instanceof Error && dead[0].id !== '')
      assert.equal(dead[0].error.code, code)
    })
  }

  test(`a replier that is closed while handlers run for peers of ${name}: their replies still arrive`, options, async t => {
    for (const how of ['closed', 'aborted']) {
      const { pipe: far, address } = await replier(t)
      const controller = new AbortController()
      const { open: letGo, passed } = gate()
      const begun = []
      const handling = far.reply(async job => { begun.push(job); await passed; return job }, { concurrency: 2, signal: controller.signal })
      const over = how === 'closed' ? handling : assert.rejects(handling, { name: 'AbortError' })
      const crew = ['REQ', 'DEALER'].map(kind => peer(t, 'requester', { kind, connect: address }))
      crew[0].say('["from REQ"]')
      crew[1].say('["", "from DEALER"]')
      await until(() => begun.length === 2)
      if (how === 'closed') far.close()
      else controller.abort()
      assert.deepEqual(await standing(handling), ['pending'])
      letGo()
      assert.deepEqual(await Promise.all(crew.map(one => one.heard('reply'))), [['from REQ'], ['', 'from DEALER']])
      await over
    }
  })

  test(`a DEALER of ${name} that goes on asking while a replier closes is let go, and answered by the next`, options, async t => {
    const place = ipcPlace()
    const far = open(t, { reply: place })
    const { open: letGo, passed } = gate()
    const begun = []
    far.reply(async job => { begun.push(String(job[0])); await passed; return job })
    await far.ready()
    const one = peer(t, 'requester', { kind: 'DEALER', connect: place })
    one.say('["", "held"]')
    await one.heard('sent')
    await until(() => begun.length === 1)
    await far.close()
    one.say('["", "too late"]')
    await one.heard('sent')
    const next = open(t, { reply: place })
    next.reply(echo)
    // By the time that others have been answered the late one has arrived, if anybody wants to hear it.
    const other = open(t, { request: place })
    for (const number of numbers(50)) await other.request(number)
    const joined = happening(next, 'join')
    letGo()
    assert.deepEqual(await one.heard('reply'), ['', 'held'])
    await joined
    one.say('["", "next"]')
    // Whether the late one was lost with the connection is up to the peer.
    let reply
    do reply = (await one.heard('reply'))[1]
    while (reply === 'too late')
    assert.equal(reply, 'next')
  })
}

const limit = { timeout: 20_000 }

for (const [what, thrown] of [
  ['an object that has no text', Object.create(null)],
  ['an error whose message throws', Object.defineProperty(new Error(), 'message', { get: () => { throw new Error('no message') } })],
  ['a symbol', Symbol('odd')]
]) {
  test(`a handler that throws ${what} for a plain peer, and nobody listens for it: a warning, and the handlers go on`, limit, async t => {
    const { pipe: far, address } = await replier(t)
    far.reply(job => {
      if (String(job[0]) === 'fail') throw thrown
      return job
    })
    const warned = warning('ZEROPIPE_DEAD')
    const one = await dial(t, address)
    await one.handshake('DEALER')
    one.send(message('', 'fail'), message('', 'next'))
    await warned
    assert.deepEqual(await one.nextJob(), ['', 'next'])
  })
}

test('what is given up while a plain peer takes nothing more is handed to no other', limit, async t => {
  const { pipe: near, address } = await requester(t)
  const stalled = await dial(t, address)
  await stalled.handshake('ROUTER')
  stalled.stall()
  const controller = new AbortController()
  // As much as its connection takes, and some that does not fit.
  const given = Promise.allSettled(numbers(200).map(number => near.request(Buffer.alloc(60_000, `given up ${number} `), { signal: controller.signal })))
  await until(() => near.stats().request.peers[0].jobs > 0)
  await standing()
  controller.abort()
  await given
  const seen = []
  open(t, { reply: { connect: address } }).reply(([job]) => { seen.push(String(job).slice(0, 8)); return job })
  assert.deepEqual(texts([await near.request('kept 1'), await near.request('kept 2')]), ['kept 1', 'kept 2'])
  assert.deepEqual([...new Set(seen)], ['kept 1', 'kept 2'])
})
