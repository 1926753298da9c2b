// The reply end as raw requesters see it: a ROUTER (RFC 28) that answers in the envelope in which it was asked (docs/flow.md).
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { replier } from './helpers/ends.mjs'
import { PROPERTY, ack, credit, giveBack, mark, nack, newInstance, offer, parse, properties } from './helpers/flow.mjs'
import { happening } from './helpers/happening.mjs'
import { open } from './helpers/open.mjs'
import { RawAsker, asText, dialAsker, dialPlainAsker, reject } from './helpers/raw-requests.mjs'
import { command, dial, frame, greeting, header, job, listen, ping, ready } from './helpers/raw-peer.mjs'
import { numbers } from './helpers/take.mjs'
import { until } from './helpers/until.mjs'

const timeout = 10_000
const kinds = [['plain', dialPlainAsker], ['flow', dialAsker]]

/** Answers with the frames that were asked, until the test is over. */
function echo (pipe, options) {
  return serve(pipe, frames => frames, options)
}

/** The same with any handler; `stop` resolves when it has ended. */
function serve (pipe, handler, options) {
  const ending = new AbortController()
  const served = pipe.reply(handler, { ...options, signal: ending.signal })
  const ended = served.catch(error => { if (error.message !== 'enough') throw error })
  return {
    stop: async () => {
      ending.abort(new Error('enough'))
      await ended
    }
  }
}

/** Handlers that stay until they are told: `begun` are the texts of their requests, `end(text, reply)` ends one. */
function heldHandlers (pipe, options) {
  const running = new Map()
  const begun = []
  const { stop } = serve(pipe, ([text]) => new Promise((resolve, reject) => {
    begun.push(text.toString())
    running.set(text.toString(), { resolve, reject })
  }), options)
  return {
    begun,
    end: (text, reply = `reply ${text}`) => running.get(text).resolve(reply),
    fail: (text, error) => running.get(text).reject(error),
    all: count => until(() => begun.length >= count),
    stop
  }
}

/** Sends messages when they may be sent, whatever kind the asker is. */
async function send (asker, ...messages) {
  for (const frames of messages) {
    if (asker.resends) await asker.request(...frames)
    else asker.put(...frames)
  }
}

async function dialled (t, address, kind, dialIt) {
  const asker = await dialIt(t, address)
  // Free slots are offered to everybody: who comes second is told to try again.
  asker.resends = kind === 'flow'
  return asker
}

// The handshake.

test('it greets as ZMTP 3.1, and READY says ROUTER and offers flow', { timeout }, async t => {
  const { address } = await replier(t)
  const peer = await dial(t, address)
  const { body } = await peer.handshake('REQ')
  assert.equal(peer.minor, 1)
  const { [PROPERTY.toLowerCase()]: offered } = properties(parse({ body }).data)
  assert.match(offered, /^1 [0-9a-f]{16}$/)
  assert.deepEqual(frame(body, { command: true }), ready('ROUTER', { [PROPERTY]: offered }))
})

for (const type of ['ROUTER', 'REP', 'PUSH', 'PULL', 'PUB', 'SUB', 'XPUB', 'XSUB', 'PAIR', 'STREAM', 'SERVER', 'CLIENT', 'req', 'DEALER ', '']) {
  test(`a peer that says it is ${JSON.stringify(type)} is refused and told why, and a requester is served`, { timeout }, async t => {
    const { pipe, address } = await replier(t)
    const { stop } = echo(pipe)
    const refused = happening(pipe, 'refused')
    const stranger = await dial(t, address)
    stranger.send(greeting(), ready(type, offer()), job('', 'too early'))
    assert.equal(parse(await stranger.next()).name, 'READY')
    const { name, data } = parse(await stranger.next())
    assert.equal(name, 'ERROR')
    assert.match(data.subarray(1).toString(), /REQ or DEALER/)
    const event = await refused
    assert.deepEqual([event.end, event.code], ['reply', 'ERR_ZEROPIPE_INCOMPATIBLE_PEER'])
    assert.ok(event.reason.includes(JSON.stringify(type)), event.reason)
    await stranger.closed
    const asker = await dialPlainAsker(t, address, 'REQ')
    asker.put('', 'x')
    assert.deepEqual(asText((await asker.get(1))[0]), ['', 'x'])
    await stop()
  })
}

test('a REQ and a DEALER may ask, with flow or without, and join tells', { timeout }, async t => {
  const { pipe, address } = await replier(t)
  const { stop } = echo(pipe)
  for (const type of ['REQ', 'DEALER']) {
    for (const [given, flow] of [[{}, false], [offer(), true]]) {
      const joined = happening(pipe, 'join')
      const asker = await new RawAsker(await dial(t, address), type).handshake(given)
      const { end, flow: told } = await joined
      assert.deepEqual([end, told], ['reply', flow])
      if (flow) await asker.request('', type)
      else asker.put('', type)
      assert.deepEqual(asText((await asker.get(1))[0]), ['', type])
      asker.destroy()
    }
  }
  await stop()
})

test('it dials a requester as well', { timeout }, async t => {
  const listener = await listen(t)
  const pipe = open(t, { reply: { connect: listener.address } })
  const { stop } = echo(pipe)
  const asker = await new RawAsker(await listener.next()).handshake()
  await asker.request('tag', '', 'x')
  assert.deepEqual(asText((await asker.get(1))[0]), ['tag', '', 'x'])
  await stop()
})

// Envelopes.

const zeros = length => Buffer.alloc(length)
const envelopes = {
  'the empty frame of a REQ': [''],
  'one address': ['address', ''],
  'three addresses': ['a', 'b', 'c', ''],
  'an address that begins with a zero, as a ROUTER makes it': [Buffer.from([0, 1, 2, 3, 4]), ''],
  'an address of one zero': [zeros(1), ''],
  'addresses of every length there is a header for': [zeros(255), zeros(256), zeros(70_000), ''],
  'every byte': [Buffer.from(Array.from({ length: 256 }, (_, i) => i)), ''],
  'the same address many times': [...Array(500).fill('again'), '']
}
const bodies = {
  'one frame': ['x'],
  'an empty frame': [''],
  'empty frames before others': ['', '', 'x', ''],
  'several frames': ['x', 'y', 'z'],
  'a large frame': [zeros(200_000)],
  'a large frame among small ones': ['x', zeros(100_000), '']
}

for (const [kind, dialIt] of kinds) {
  for (const [what, envelope] of Object.entries(envelopes)) {
    test(`${kind}: a reply comes back behind ${what}, byte for byte`, { timeout }, async t => {
      const { pipe, address } = await replier(t)
      const seen = []
      const { stop } = serve(pipe, frames => {
        seen.push(frames.map(frame => Buffer.from(frame)))
        return ['reply', ...frames]
      })
      const asker = await dialled(t, address, kind, dialIt)
      const all = Object.values(bodies)
      for (const [index, body] of all.entries()) {
        await send(asker, [...envelope, ...body])
        const replies = await asker.get(index + 1)
        const bytes = frames => frames.map(frame => Buffer.from(frame))
        assert.ok(same(seen[index], bytes(body)), 'the handler saw something else')
        assert.ok(same(replies[index], bytes([...envelope, 'reply', ...body])), 'the reply is another')
      }
      await stop()
    })
  }

  test(`${kind}: what is no request is ignored, told by an event and settled`, { timeout }, async t => {
    const { pipe, address } = await replier(t)
    const events = []
    pipe.on('refused', event => events.push(event)).on('leave', event => events.push(event))
    const { stop } = echo(pipe)
    const asker = await dialled(t, address, kind, dialIt)
    const strange = [['x'], [''], ['x', 'y'], ['x', ''], ['x', 'y', ''], Array(1024).fill('x'), [...Array(1023).fill('x'), ''], [zeros(200_000)], [zeros(200_000), '']]
    for (const frames of strange) await send(asker, frames, ['tag', '', 'good'])
    await asker.get(strange.length)
    await asker.ask()
    assert.deepEqual(asker.texts, strange.map(() => ['tag', '', 'good']))
    assert.deepEqual(events.map(({ end, code }) => [end, code]), strange.map(() => ['reply', 'ERR_ZEROPIPE_PROTOCOL']))
    assert.ok(events.every(({ address, reason }) => /^tcp:\/\/127\.0\.0\.1:\d+$/.test(address) && reason.length > 0))
    if (kind === 'flow') {
      await asker.when(() => asker.acked.length === 2 * strange.length)
      assert.equal(asker.settled.length, asker.sent)
      assert.equal(pipe.stats().reply.peers[0].inFlight, 0)
    }
    await stop()
  })

  test(`${kind}: a thousand in a row that are no requests take nothing from the one behind them`, { timeout }, async t => {
    const { pipe, address } = await replier(t)
    let refused = 0
    pipe.on('refused', () => { refused++ })
    const { stop } = echo(pipe, { concurrency: 3 })
    const asker = await dialled(t, address, kind, dialIt)
    await send(asker, ...Array(1000).fill(['x']), ['', 'good'])
    assert.deepEqual(asText((await asker.get(1))[0]), ['', 'good'])
    assert.equal(refused, 1000)
    await stop()
  })

  test(`${kind}: replies go in the order in which handlers finish, each behind its own envelope`, { timeout }, async t => {
    const { pipe, address } = await replier(t)
    const { all, end, begun, stop } = heldHandlers(pipe, { concurrency: 5 })
    const asker = await dialled(t, address, kind, dialIt)
    await send(asker, ...numbers(5).map(text => [`tag ${text}`, '', text]))
    await all(5)
    assert.deepEqual(begun, numbers(5))
    const order = ['3', '0', '4', '1', '2']
    for (const [index, text] of order.entries()) {
      end(text)
      await asker.get(index + 1)
    }
    assert.deepEqual(asker.texts, order.map(text => [`tag ${text}`, '', `reply ${text}`]))
    await stop()
  })

  test(`${kind}: those that finish together, small and large, go in that order too`, { timeout }, async t => {
    const { pipe, address } = await replier(t)
    const { all, end, stop } = heldHandlers(pipe, { concurrency: 6 })
    const asker = await dialled(t, address, kind, dialIt)
    await send(asker, ...numbers(6).map(text => [text, '', text]))
    await all(6)
    for (const text of ['5', '1', '3', '0', '2', '4']) end(text, Number(text) % 3 === 0 ? zeros(300_000) : text)
    await asker.get(6)
    assert.deepEqual(asker.replies.map(([tag]) => tag.toString()), ['5', '1', '3', '0', '2', '4'])
    await stop()
  })

  test(`${kind}: requests that are sent ahead are all answered, in order where one is handled at a time`, { timeout }, async t => {
    const { pipe, address } = await replier(t)
    const { stop } = echo(pipe)
    const asker = await dialled(t, address, kind, dialIt)
    const sending = send(asker, ...numbers(2000).map(text => [text, '', text]))
    await asker.get(2000)
    await sending
    assert.deepEqual(asker.texts, numbers(2000).map(text => [text, '', text]))
    assert.equal(pipe.stats().reply.received, 2000)
    await stop()
  })

  test(`${kind}: two that ask at once get their own replies, even with the same tags`, { timeout }, async t => {
    const { pipe, address } = await replier(t)
    const { stop } = echo(pipe, { concurrency: 4 })
    const askers = [await dialled(t, address, kind, dialIt), await dialled(t, address, kind, dialIt), await dialled(t, address, kind, dialIt)]
    await Promise.all(askers.map((asker, who) => send(asker, ...numbers(300).map(text => ['tag', '', `${who}`, text]))))
    for (const [who, asker] of askers.entries()) {
      await asker.get(300)
      assert.deepEqual(asker.texts.map(([, , whose]) => whose), Array(300).fill(`${who}`))
      assert.deepEqual(asker.texts.map(frames => frames[3]).toSorted((a, b) => a - b), numbers(300))
    }
    await stop()
  })

  test(`${kind}: the reply to one that has left goes nowhere, and others are served`, { timeout }, async t => {
    const { pipe, address } = await replier(t)
    const { all, end, stop } = heldHandlers(pipe, { concurrency: 2 })
    const [gone, stays] = [await dialled(t, address, kind, dialIt), await dialled(t, address, kind, dialIt)]
    await send(gone, ['tag', '', 'gone'])
    await all(1)
    const left = happening(pipe, 'leave')
    gone.destroy()
    await left
    end('gone')
    await send(stays, ['tag', '', 'stays'])
    await all(2)
    end('stays')
    await stays.get(1)
    await stays.ask()
    assert.deepEqual(stays.texts, [['tag', '', 'reply stays']])
    await stop()
  })

  for (const how of ['a signal that aborts', 'close']) {
    test(`${kind}: after ${how}, handlers that run still reply, the last of them too`, { timeout }, async t => {
      const { pipe, address } = await replier(t)
      const { all, end, stop } = heldHandlers(pipe, { concurrency: 3 })
      const asker = await dialled(t, address, kind, dialIt)
      await send(asker, ...numbers(3).map(text => [text, '', text]))
      await all(3)
      const stopped = how === 'close' ? pipe.close() : stop()
      if (how === 'close') await stopped
      await asker.ask()
      assert.deepEqual(asker.replies, [])
      end('1')
      await asker.get(1)
      end('0', zeros(200_000))
      end('2')
      if (how === 'close') await asker.closed
      else await stopped
      await asker.when(() => asker.replies.length === 3).catch(() => {})
      assert.deepEqual(asker.replies.map(([tag]) => tag.toString()), ['1', '0', '2'])
      if (kind === 'flow') await asker.when(() => asker.acked.length === 3).catch(() => assert.equal(asker.acked.length, 3))
    })
  }

  test(`${kind}: one handler and close within it: its reply is sent, and then the link ends`, { timeout }, async t => {
    const { pipe, address } = await replier(t)
    const asker = await dialled(t, address, kind, dialIt)
    const served = pipe.reply(async () => {
      await pipe.close()
      return 'the last'
    })
    await send(asker, ['tag', '', 'x'])
    await served
    await asker.closed
    assert.deepEqual(asker.texts, [['tag', '', 'the last']])
  })

  test(`${kind}: a pool that has ended has sent all its replies, and another goes on`, { timeout }, async t => {
    const { pipe, address } = await replier(t)
    const asker = await dialled(t, address, kind, dialIt)
    for (let round = 1; round <= 20; round++) {
      const ending = new AbortController()
      const served = pipe.reply(([text]) => {
        ending.abort(new Error('enough'))
        return text
      }, { signal: ending.signal })
      await send(asker, ['tag', '', `${round}`])
      await assert.rejects(served, /enough/)
      await asker.get(round)
    }
    assert.deepEqual(asker.texts, Array.from({ length: 20 }, (_, i) => ['tag', '', `${i + 1}`]))
  })
}

function same (frames, others) {
  return frames.length === others.length && frames.every((frame, index) => frame.equals(others[index]))
}

test('plain: nothing but replies, PING and PONG is ever said, and its commands of flow are not heard', { timeout }, async t => {
  const { pipe, address } = await replier(t, { heartbeat: { interval: 20, timeout: 5000 } })
  pipe.on('dead', () => {})
  const { stop } = serve(pipe, ([text]) => { if (text.toString() === 'bad') throw new Error('no'); return text })
  const asker = await dialPlainAsker(t, address)
  asker.send(credit(1), ack(1), nack(1), giveBack(1), reject(1, 'E', 'x'), mark({ id: '0123456789abcdef-1' }))
  for (const text of numbers(100)) asker.put('', text)
  asker.put('', 'bad')
  asker.put('nonsense')
  asker.put('', 'last')
  await asker.get(101)
  await asker.when(() => asker.names.filter(name => name === 'PING').length >= 3)
  await asker.ask()
  await pipe.close()
  await asker.closed
  assert.deepEqual([...new Set(asker.names)].toSorted(), ['PING', 'PONG', 'a reply'])
  assert.equal(asker.replies.length, 101)
  await stop()
})

test('plain: a handler that throws sends nothing, tells by the event dead, and the next is served', { timeout }, async t => {
  const { pipe, address } = await replier(t)
  const events = []
  pipe.on('dead', event => events.push(event))
  const { stop } = serve(pipe, ([text]) => { if (text.toString() === 'bad') throw new Error('no'); return text })
  const asker = await dialPlainAsker(t, address)
  asker.put('a', '', 'bad')
  asker.put('b', '', 'good')
  await asker.get(1)
  await asker.ask()
  assert.deepEqual(asker.texts, [['b', '', 'good']])
  assert.deepEqual(events.map(({ job, attempt, error }) => [asText(job), attempt, error.message]), [[['bad'], 1, 'no']])
  await stop()
})

test('plain: requests behind those that are worked on at close are not taken, and the link ends', { timeout }, async t => {
  const { pipe, address } = await replier(t)
  const { all, end, begun } = heldHandlers(pipe, { concurrency: 2 })
  const asker = await dialPlainAsker(t, address)
  asker.put('', 'before')
  await all(1)
  await pipe.close()
  asker.put('', 'after')
  asker.put('', 'and after that')
  await asker.peer.flush(ping(0, 'x'))
  end('before')
  await asker.closed
  assert.deepEqual(asker.texts, [['', 'reply before']])
  assert.deepEqual(begun, ['before'])
})

test('plain: one with requests that nobody has begun with gets the replies to the others at close, and the link ends', { timeout }, async t => {
  const { pipe, address } = await replier(t)
  const { all, end, begun } = heldHandlers(pipe, { concurrency: 2 })
  const asker = await dialPlainAsker(t, address)
  for (const text of numbers(50)) asker.put('', text)
  await all(2)
  await asker.peer.flush(ping(0, 'x'))
  await pipe.close()
  end('1')
  end('0')
  await asker.closed
  assert.deepEqual(asker.texts, [['', 'reply 1'], ['', 'reply 0']])
  assert.deepEqual(begun, ['0', '1'])
})

test('plain: idle ones are ended at close at once, while one still waits for its reply', { timeout }, async t => {
  const { pipe, address } = await replier(t)
  const { all, end } = heldHandlers(pipe)
  const [idle, waits] = [await dialPlainAsker(t, address), await dialPlainAsker(t, address, 'REQ')]
  waits.put('', 'x')
  await all(1)
  await pipe.close()
  await idle.closed
  await waits.ask()
  assert.deepEqual(waits.replies, [])
  end('x')
  await waits.closed
  assert.deepEqual(waits.texts, [['', 'reply x']])
})

test('plain: one that leaves at once after its request takes nothing with it', { timeout }, async t => {
  const { pipe, address } = await replier(t)
  const { stop } = echo(pipe)
  for (let round = 0; round < 50; round++) {
    const asker = await dial(t, address)
    asker.send(greeting(), ready('REQ'), job('', 'x'), job('', 'y'))
    if (round % 2 === 0) asker.end()
    else await asker.flush(Buffer.alloc(0)).then(() => asker.reset())
  }
  const good = await dialPlainAsker(t, address)
  good.put('', 'good')
  await good.get(1)
  await stop()
})

// Flow.

test('flow: the reply goes before the ACK of its request', { timeout: 30_000 }, async t => {
  const { pipe, address } = await replier(t)
  const { stop } = echo(pipe, { concurrency: 4 })
  const asker = await dialled(t, address, 'flow', dialAsker)
  for (const text of numbers(8000)) await asker.request(text, '', Number(text) % 10 === 0 ? zeros(70_000) : text)
  await asker.when(() => asker.acked.length === 8000)
  const replied = new Set()
  for (const { name, data, frames } of asker.log) {
    if (name === 'a reply') replied.add(frames[0].toString())
    if (name !== 'ACK') continue
    for (let at = 0; at < data.length; at += 16) {
      for (let number = Number(data.readBigUInt64BE(at)); number <= Number(data.readBigUInt64BE(at + 8)); number++) {
        assert.ok(replied.has(asker.messages[number][0]), `ACK of ${number} before its reply`)
      }
    }
  }
  assert.deepEqual([asker.nacked, asker.rejected], [[], []])
  await stop()
})

test('flow: without a handler no CREDIT is given, and with one as many as can run', { timeout }, async t => {
  const { pipe, address } = await replier(t)
  const asker = await dialAsker(t, address)
  await asker.ask(20)
  assert.deepEqual(asker.credits, [])
  const { all, stop } = heldHandlers(pipe, { concurrency: 4 })
  await asker.when(() => asker.left === 4)
  asker.resends = true
  for (const text of numbers(4)) asker.put(text, '', text)
  await all(4)
  await asker.when(() => asker.left === 0)
  // What the thread has read by itself is counted a little later.
  await until(() => pipe.stats().reply.peers.some(({ inFlight, credit }) => inFlight === 4 && credit === 0))
  assert.equal(asker.left, 0)
  stop()
})

test('flow: a prefetch is granted, and what is not begun with is RETURNed at close', { timeout }, async t => {
  const { pipe, address } = await replier(t)
  const { all, end } = heldHandlers(pipe, { prefetch: 5 })
  const asker = await dialAsker(t, address)
  await asker.when(() => asker.left === 5)
  for (const text of numbers(5)) asker.put(text, '', text)
  await all(1)
  await pipe.close()
  await asker.when(() => asker.returned.length === 4)
  assert.deepEqual(asker.returned.toSorted(), [2, 3, 4, 5])
  assert.equal(asker.left, 0)
  end('0')
  await asker.closed
  assert.deepEqual(asker.texts, [['0', '', 'reply 0']])
  assert.deepEqual(asker.settled, [1, 2, 3, 4, 5])
})

test('flow: what comes while it closes is RETURNed', { timeout }, async t => {
  const { pipe, address } = await replier(t)
  const { all, end } = heldHandlers(pipe, { concurrency: 2 })
  const asker = await dialAsker(t, address)
  asker.isAnswering = false // so that it waits for us
  await asker.when(() => asker.left === 2)
  asker.put('0', '', '0')
  await all(1)
  await pipe.close()
  asker.put('1', '', '1')
  await asker.when(() => asker.returned.includes(2))
  end('0')
  await asker.get(1)
  assert.deepEqual(asker.texts, [['0', '', 'reply 0']])
})

for (const [what, thrown, wanted] of [
  ['an error', new Error('out of paper'), ['', 'out of paper']],
  ['an error with a code', Object.assign(new Error('no'), { code: 'E_NO' }), ['E_NO', 'no']],
  ['an error whose code is a number', Object.assign(new Error('no'), { code: 5 }), ['', 'no']],
  ['an error without a message', new Error(''), ['', '']],
  ['a text', 'just text', ['', 'just text']],
  ['undefined', undefined, ['', 'undefined']],
  ['null', null, ['', 'null']],
  ['a symbol', Symbol('odd'), ['', 'Symbol(odd)']],
  ['an object whose text can not be told', { toString () { throw new Error('never') } }, ['', '{ toString: [Function: toString] }']],
  ['an error whose message can not be told', Object.defineProperty(new Error('x'), 'message', { get () { throw new Error('never') } }), ['', 'no reason that can be told']],
  ['a long message', new Error('é'.repeat(2000)), ['', 'é'.repeat(512)]],
  ['a message cut within a letter', new Error(`x${'é'.repeat(2000)}`), ['', `x${'é'.repeat(511)}`]],
  ['a long code', Object.assign(new Error('no'), { code: 'C'.repeat(300) }), ['C'.repeat(255), 'no']],
  ['a code cut within a letter', Object.assign(new Error('no'), { code: 'é'.repeat(200) }), ['é'.repeat(127), 'no']],
  ['half a letter', new Error('a\ud800b'), ['', 'a\ufffdb']]
]) {
  test(`flow: a handler that throws ${what} is a REJECT, which settles the request`, { timeout }, async t => {
    const { pipe, address } = await replier(t)
    const { stop } = serve(pipe, ([text]) => { if (text.toString() === 'bad') throw thrown; return text })
    const asker = await dialAsker(t, address)
    await asker.request('tag', '', 'bad')
    await asker.when(() => asker.rejected.length === 1)
    assert.deepEqual(asker.rejected, [{ number: 1, code: wanted[0], text: wanted[1] }])
    await asker.request('tag', '', 'good')
    await asker.when(() => asker.acked.length === 1)
    assert.deepEqual([asker.settled, asker.texts], [[1, 2], [['tag', '', 'good']]])
    assert.equal(pipe.stats().reply.peers[0].inFlight, 0)
    await stop()
  })
}

for (const [what, reply, code] of [
  ['undefined', undefined, 'ERR_ZEROPIPE_INVALID_JOB'],
  ['an object', {}, 'ERR_ZEROPIPE_INVALID_JOB'],
  ['no frames', [], 'ERR_ZEROPIPE_INVALID_JOB'],
  ['too many frames', Array(1023).fill(''), 'ERR_ZEROPIPE_MESSAGE_TOO_LARGE'],
  ['too many bytes', zeros(100_000), 'ERR_ZEROPIPE_MESSAGE_TOO_LARGE']
]) {
  test(`flow: a handler that returns ${what} is a REJECT with ${code}`, { timeout }, async t => {
    const { pipe, address } = await replier(t, { maxMessageSize: 100_000 })
    const { stop } = serve(pipe, ([text]) => text.toString() === 'bad' ? reply : text)
    const asker = await dialAsker(t, address)
    await asker.request('tag', '', 'good')
    await asker.request('tag', '', 'bad')
    await asker.request('tag', '', 'good')
    await asker.when(() => asker.settled.length === 3)
    assert.deepEqual(asker.rejected.map(({ number, code }) => [number, code]), [[2, code]])
    assert.deepEqual([asker.acked, asker.texts], [[1, 3], [['tag', '', 'good'], ['tag', '', 'good']]])
    await stop()
  })
}

test('flow: replies and REJECTs of handlers that end together are all told', { timeout }, async t => {
  const { pipe, address } = await replier(t)
  const { all, end, fail, stop } = heldHandlers(pipe, { concurrency: 10 })
  const asker = await dialled(t, address, 'flow', dialAsker)
  await send(asker, ...numbers(10).map(text => [text, '', text]))
  await all(10)
  for (const text of numbers(10).toReversed()) Number(text) % 2 === 0 ? end(text) : fail(text, new Error(text))
  await asker.when(() => asker.acked.length === 5 && asker.rejected.length === 5)
  assert.equal(asker.settled.length, asker.sent)
  assert.deepEqual(asker.rejected.map(({ number, text }) => [asker.messages[number][0], text]), ['9', '7', '5', '3', '1'].map(text => [text, text]))
  assert.deepEqual(asker.texts.map(([, , text]) => text), ['reply 8', 'reply 6', 'reply 4', 'reply 2', 'reply 0'])
  await stop()
})

test('flow: what JOB tells is in the info of the handler', { timeout }, async t => {
  const { pipe, address } = await replier(t)
  const seen = []
  const { stop } = serve(pipe, (_, { id, attempt, from }) => {
    seen.push([id, attempt, from.identity])
    return ''
  })
  const instance = newInstance()
  const asker = await dialAsker(t, address, { Identity: 'it', ...offer(instance) })
  await asker.when(() => asker.left > 0)
  asker.send(mark({ id: `${instance}-7`, attempt: 3 }))
  await asker.request('tag', '', 'x')
  await asker.get(1)
  await asker.request('tag', '', 'y')
  await asker.get(2)
  assert.deepEqual(seen, [[`${instance}-7`, 3, 'it'], [`${instance}-8`, 1, 'it']])
  await stop()
})

/** What a requester with a credit of 10 may not say. */
const breaches = {
  'a CREDIT': [credit(1)],
  'an ACK': [ack(1)],
  'a RETURN': [giveBack(1)],
  'a NACK': [nack(1, 'no')],
  'a REJECT': [reject(1, 'E', 'no')],
  'a REJECT that is cut off': [command('REJECT')],
  'a JOB of noise': [mark({ id: 'nonsense' })],
  'a JOB within a message': [frame('', { more: true }), mark({ id: '0123456789abcdef-1' }), frame('x')],
  'more requests than were granted': numbers(11).map(text => job('', text)),
  'many more requests than were granted': numbers(5000).map(text => job('', text)),
  'more messages than were granted that are no requests': numbers(11).map(text => job(text)),
  'reserved flags': [frame('x', { flags: 8 })]
}
for (const [what, bytes] of Object.entries(breaches)) {
  test(`flow: ${what} ends the link, and others are served on`, { timeout }, async t => {
    const { pipe, address } = await replier(t)
    const refusals = []
    const [bad, good] = [await dialAsker(t, address), await dialAsker(t, address)]
    good.resends = true
    const { stop, end, begun } = heldHandlers(pipe, { concurrency: 10 })
    await bad.when(() => bad.left === 10)
    pipe.on('refused', event => { if (event.reason.includes('no request') === false) refusals.push(event) })
    const left = happening(pipe, 'leave')
    bad.send(...bytes)
    assert.equal((await left).code, 'ERR_ZEROPIPE_PROTOCOL')
    await bad.closed
    // What it was granted may have begun.
    const replied = () => begun.splice(0).forEach(text => end(text))
    replied()
    await good.request('tag', '', 'good')
    await until(() => {
      const has = begun.includes('good')
      replied()
      return has
    })
    await good.get(1)
    assert.deepEqual(good.texts, [['tag', '', 'reply good']])
    assert.deepEqual(refusals.map(({ end, code }) => [end, code]), [['reply', 'ERR_ZEROPIPE_PROTOCOL']])
    await stop()
  })
}

test('flow: a request before any CREDIT ends the link', { timeout }, async t => {
  const { pipe, address } = await replier(t)
  const refused = happening(pipe, 'refused')
  const bad = await dialAsker(t, address)
  bad.put('', 'uninvited')
  assert.equal((await refused).code, 'ERR_ZEROPIPE_PROTOCOL')
  await bad.closed
})

test('a request over maxMessageSize, and one of too many frames, end the link', { timeout }, async t => {
  const { pipe, address } = await replier(t, { maxMessageSize: 100_000 })
  const { stop } = echo(pipe)
  for (const bytes of [header(2 ** 40), job('', zeros(100_000)), job('', ...Array(1024).fill('x'))]) {
    const refused = happening(pipe, 'refused')
    const bad = await dialPlainAsker(t, address)
    bad.send(bytes)
    assert.equal((await refused).code, 'ERR_ZEROPIPE_MESSAGE_TOO_LARGE')
    await bad.closed
  }
  await stop()
})

test('flow: what a requester that comes back had sent before and nobody began with is dropped', { timeout }, async t => {
  const { pipe, address } = await replier(t)
  const instance = newInstance()
  const { all, begun, end, stop } = heldHandlers(pipe, { prefetch: 5 })
  const first = await dialAsker(t, address, offer(instance))
  await first.when(() => first.left === 5)
  for (const text of numbers(3)) first.put(text, '', text)
  await all(1)
  const left = happening(pipe, 'leave')
  first.destroy()
  await left
  const second = await dialAsker(t, address, offer(instance))
  await second.ask()
  end('0')
  await second.request('again', '', 'again')
  await all(2)
  end('again')
  await second.get(1)
  await second.when(() => second.settled.length === 1)
  assert.deepEqual(begun, ['0', 'again'])
  // The reply to what was asked on the other link is for that alone.
  assert.deepEqual(second.texts, [['again', '', 'reply again']])
  assert.deepEqual(second.settled, [1])
  await stop()
})

test('flow and plain requesters are served side by side', { timeout }, async t => {
  const { pipe, address } = await replier(t)
  const { stop } = echo(pipe, { concurrency: 3 })
  const flow = await dialled(t, address, 'flow', dialAsker)
  const plain = await dialPlainAsker(t, address)
  for (const text of numbers(500)) plain.put('', text)
  await send(flow, ...numbers(100).map(text => ['tag', '', text]))
  await flow.get(100)
  await plain.get(500)
  assert.deepEqual(plain.texts.map(([, text]) => text).toSorted((a, b) => a - b), numbers(500))
  assert.deepEqual(flow.texts.map(([, , text]) => text).toSorted((a, b) => a - b), numbers(100))
  await stop()
})
