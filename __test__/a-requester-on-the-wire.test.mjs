// The request end as raw workers see it: a DEALER (RFC 28) that keeps what it asks until it is answered (docs/flow.md).
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pusher, requester } from './helpers/ends.mjs'
import { NO_LIMIT, PROPERTY, ack, credit, dialPull, giveBack, mark, nack, offer, parse, properties, u64 } from './helpers/flow.mjs'
import { happening } from './helpers/happening.mjs'
import { open } from './helpers/open.mjs'
import { RawWorker, TAG, asText, dialPlainWorker, dialWorker, reject } from './helpers/raw-requests.mjs'
import { command, dial, frame, greeting, header, job, listen, ping, ready } from './helpers/raw-peer.mjs'
import { standing } from './helpers/settle.mjs'
import { numbers } from './helpers/take.mjs'
import { until } from './helpers/until.mjs'

const timeout = 10_000
const LAST = 2n ** 64n - 1n

const counts = pipe => {
  const { queued, queuedBytes, inFlight, inFlightBytes, done, dead } = pipe.stats().request
  return { queued, queuedBytes, inFlight, inFlightBytes, done, dead }
}
const NOTHING = { queued: 0, queuedBytes: 0, inFlight: 0, inFlightBytes: 0, done: 0, dead: 0 }

/** A worker that may be sent so many. */
async function granted (t, address, jobs = 1000) {
  const worker = await dialWorker(t, address)
  worker.credit(jobs)
  await worker.ask(1)
  return worker
}

/** Goes, and the requester has noticed. */
async function leave (pipe, worker) {
  const left = happening(pipe, 'leave')
  worker.destroy()
  await left
}

/** Asks, and gives the promise with what ends it. What becomes of it is looked at later, or not at all. */
function ask (pipe, job, options) {
  const ending = new AbortController()
  const reply = pipe.request(job, { ...options, signal: ending.signal })
  reply.catch(() => {})
  return { reply, abandon: () => ending.abort(new Error('enough')) }
}

/** Asks, and resolves once nobody waits for it any more. */
async function askInVain (pipe, job) {
  const { reply, abandon } = ask(pipe, job)
  await standing(reply)
  abandon()
  await assert.rejects(reply, /enough/)
}

/** Asks all of them; what becomes of them is looked at later. */
function askAll (pipe, jobs) {
  return jobs.map(job => ask(pipe, job).reply)
}

const code = code => error => error.code === code

// The handshake.

test('it greets as ZMTP 3.1, and READY says DEALER and offers flow', { timeout }, async t => {
  const { address } = await requester(t)
  const peer = await dial(t, address)
  const { body } = await peer.handshake('ROUTER')
  assert.equal(peer.minor, 1)
  const { [PROPERTY.toLowerCase()]: offered } = properties(parse({ body }).data)
  assert.match(offered, /^1 [0-9a-f]{16}$/)
  assert.deepEqual(frame(body, { command: true }), ready('DEALER', { [PROPERTY]: offered }))
})

test('a name of its own stands in READY too', { timeout }, async t => {
  const { address } = await requester(t, { identity: 'it' })
  const { body } = await (await dial(t, address)).handshake('REP')
  assert.deepEqual(frame(body, { command: true }), ready('DEALER', { Identity: 'it', [PROPERTY]: properties(parse({ body }).data)[PROPERTY.toLowerCase()] }))
})

test('the request end and the push end of a pipe have an instance each', { timeout }, async t => {
  const pipe = open(t, { push: { bind: 'tcp://127.0.0.1:*' }, request: { bind: 'tcp://127.0.0.1:*' } })
  await pipe.ready()
  const { push, request } = pipe.stats()
  const read = answer => properties(parse(answer).data)[PROPERTY.toLowerCase()]
  assert.notEqual(read(await (await dial(t, push.bound[0])).handshake('PULL')), read(await (await dial(t, request.bound[0])).handshake('ROUTER')))
})

for (const type of ['DEALER', 'REQ', 'PUSH', 'PULL', 'PUB', 'SUB', 'XPUB', 'XSUB', 'PAIR', 'STREAM', 'SERVER', 'CLIENT', 'rep', 'ROUTER ', '']) {
  test(`a peer that says it is ${JSON.stringify(type)} is refused and told why, and a worker is served`, { timeout }, async t => {
    const { pipe, address } = await requester(t)
    const refused = happening(pipe, 'refused')
    const stranger = await dial(t, address)
    stranger.send(greeting(), ready(type, offer()))
    assert.equal(parse(await stranger.next()).name, 'READY')
    const { name, data } = parse(await stranger.next())
    assert.equal(name, 'ERROR')
    assert.match(data.subarray(1).toString(), /REP or ROUTER/)
    const event = await refused
    assert.deepEqual([event.end, event.code], ['request', 'ERR_ZEROPIPE_INCOMPATIBLE_PEER'])
    assert.ok(event.reason.includes(JSON.stringify(type)), event.reason)
    await stranger.closed
    const worker = await granted(t, address)
    const { reply } = ask(pipe, 'job')
    worker.answer((await worker.get(1))[0], 'reply')
    assert.deepEqual(asText(await reply), ['reply'])
  })
}

test('a REP and a ROUTER are workers, with flow or without, and join tells', { timeout }, async t => {
  const { pipe, address } = await requester(t)
  for (const type of ['REP', 'ROUTER']) {
    for (const [given, flow] of [[{}, false], [offer(), true]]) {
      const joined = happening(pipe, 'join')
      const worker = await new RawWorker(await dial(t, address), type).handshake(given)
      const { end, flow: told } = await joined
      assert.deepEqual([end, told], ['request', flow])
      const { reply } = ask(pipe, 'job')
      if (flow) worker.credit(1)
      const [request] = await worker.get(1)
      if (flow) worker.answer(request, type)
      else worker.reply(request, type)
      assert.deepEqual(asText(await reply), [type])
      await leave(pipe, worker)
    }
  }
  assert.deepEqual(counts(pipe), { ...NOTHING, done: 4 })
})

test('it dials a worker as well, and again', { timeout }, async t => {
  const first = await listen(t)
  const pipe = open(t, { request: first.address })
  const { reply } = ask(pipe, 'job')
  const before = await new RawWorker(await first.next()).handshake()
  before.credit(1)
  const [{ tag }] = await before.get(1)
  await first.close()
  const after = await new RawWorker(await (await listen(t, first.address)).next()).handshake()
  assert.equal(after.instance, before.instance)
  after.credit(1)
  const [request] = await after.get(1)
  assert.deepEqual([request.tag, request.attempt], [tag, '2'])
  after.answer(request, 'reply')
  assert.deepEqual(asText(await reply), ['reply'])
})

// The envelope.

test('a request is a tag of twelve bytes, an empty frame, and the frames of the job', { timeout }, async t => {
  const { pipe, address } = await requester(t)
  const peer = await dial(t, address)
  await peer.handshake('REP', { minor: 0 })
  const large = Buffer.alloc(100_000, 'x')
  for (const body of [['job'], ['several', 'frames'], [''], ['', '', ''], ['', 'behind an empty one'], ['a', '', 'b'], [large], ['head', large], Array(1022).fill('f'), [Buffer.alloc(256)], [Buffer.alloc(255)]]) {
    ask(pipe, body)
    const tag = await peer.next()
    assert.deepEqual([tag.body.length, tag.more, tag.command], [TAG, true, false])
    const empty = await peer.next()
    assert.deepEqual([empty.body.length, empty.more, empty.command], [0, true, false])
    for (const [index, wanted] of body.entries()) {
      const { body: found, more } = await peer.next()
      assert.ok(found.equals(Buffer.from(wanted)))
      assert.equal(more, index + 1 < body.length)
    }
  }
})

test('1,023 frames are one too many for a request, and nothing of it is sent', { timeout }, async t => {
  const { pipe, address } = await requester(t)
  const worker = await granted(t, address)
  await assert.rejects(pipe.request(Array(1023).fill('')), code('ERR_ZEROPIPE_MESSAGE_TOO_LARGE'))
  ask(pipe, 'next')
  await worker.get(1)
  assert.deepEqual(worker.texts, ['next'])
})

test('every request has a tag of its own, with four bytes that follow from nothing', { timeout }, async t => {
  const { pipe, address } = await requester(t)
  const worker = await granted(t, address, 5000)
  for (const text of numbers(5000)) ask(pipe, text)
  const requests = await worker.get(5000)
  assert.deepEqual(worker.texts, numbers(5000))
  assert.equal(new Set(requests.map(({ tag }) => tag.toString('hex'))).size, 5000)
  assert.equal(new Set(requests.map(({ tag }) => tag.subarray(0, 4).toString('hex'))).size, 1)
  const secrets = requests.map(({ tag }) => tag.readUInt32BE(8))
  // Of so many numbers of 32 bits about three are the same as another.
  assert.ok(new Set(secrets).size > 4950)
  const steps = new Set(secrets.slice(1).map((secret, index) => secret - secrets[index]))
  assert.ok(steps.size > 4900)
  for (let bit = 0; bit < 32; bit++) {
    const ones = secrets.filter(secret => (secret >>> bit & 1) === 1).length
    assert.ok(ones > 2000 && ones < 3000, `bit ${bit}: ${ones}`)
  }
})

test('a plain worker is sent requests at once and no command but PING and PONG, whatever happens', { timeout }, async t => {
  const { pipe, address } = await requester(t, { heartbeat: { interval: 20, timeout: 5000 } })
  const worker = await dialPlainWorker(t, address)
  const replies = numbers(100).map(text => pipe.request(text))
  for (const request of await worker.get(100)) worker.reply(request, request.texts[0])
  assert.deepEqual((await Promise.all(replies)).map(asText), numbers(100).map(text => [text]))
  const { reply, abandon } = ask(pipe, 'in vain')
  worker.send(reject(1, 'E', 'not heard'), ack(101), nack(101, 'not heard'), giveBack(101), credit(0, 0))
  await worker.get(101)
  abandon()
  await assert.rejects(reply, /enough/)
  await worker.when(() => worker.names.filter(name => name === 'PING').length >= 3)
  await worker.ask()
  await pipe.close()
  await worker.closed
  assert.deepEqual([...new Set(worker.names)].toSorted(), ['PING', 'PONG', 'a job'])
  assert.deepEqual(counts(pipe), { ...NOTHING, done: 100 })
})

// Replies.

for (const [kind, dialIt] of [['plain', dialPlainWorker], ['flow', granted]]) {
  test(`${kind}: each reply comes to who has asked, whatever the order, byte for byte`, { timeout }, async t => {
    const { pipe, address } = await requester(t)
    const worker = await dialIt(t, address)
    const replies = numbers(300).map(text => pipe.request(text))
    const requests = await worker.get(300)
    const order = [...requests.keys()].map(index => (index * 7 + 3) % 300)
    const body = index => [Buffer.alloc(index * index, index), '', String(index)].slice(index % 3)
    for (const index of order) worker.reply(requests[index], ...body(index))
    for (const [index, reply] of replies.entries()) {
      const frames = await reply
      assert.ok(frames.length === body(index).length && frames.every((frame, at) => frame.equals(Buffer.from(body(index)[at]))), `reply ${index}`)
    }
    assert.equal(counts(pipe).done, 300)
    if (kind === 'flow') worker.ack([1, 300])
    await worker.ask()
    assert.deepEqual(counts(pipe), { ...NOTHING, done: 300 })
    assert.equal(pipe.stats().request.peers[0].done, 300)
  })

  test(`${kind}: replies that nobody waits for are dropped, and the link goes on`, { timeout }, async t => {
    const { pipe, address } = await requester(t)
    const problems = []
    pipe.on('refused', event => problems.push(event)).on('leave', event => problems.push(event))
    const worker = await dialIt(t, address)
    // Before anything was asked.
    worker.send(job(Buffer.alloc(TAG), '', 'forged'), job(Buffer.alloc(TAG, 255), '', '', ''))
    const first = pipe.request('first')
    const [request] = await worker.get(1)
    const near = Buffer.from(request.tag)
    near[TAG - 1] ^= 1
    worker.send(job(near, '', 'guessed'))
    await worker.ask()
    assert.deepEqual(await standing(first), ['pending'])
    worker.reply(request, 'right').reply(request, 'repeated').reply(request, 'and again')
    assert.deepEqual(asText(await first), ['right'])
    worker.reply(request, 'late').send(ping(0, 'x'))
    const { reply, abandon } = ask(pipe, 'given up')
    const [, second] = await worker.get(2)
    abandon()
    await assert.rejects(reply, /enough/)
    await worker.ask()
    worker.reply(second, 'late')
    const third = pipe.request('third')
    worker.reply((await worker.get(3))[2], 'third')
    assert.deepEqual(asText(await third), ['third'])
    await worker.ask()
    assert.deepEqual(problems, [])
    assert.equal(counts(pipe).done, 2)
  })

  test(`${kind}: unknown tags among known ones in one write take nothing from these`, { timeout }, async t => {
    const { pipe, address } = await requester(t)
    const worker = await dialIt(t, address)
    const replies = numbers(50).map(text => pipe.request(text))
    const requests = await worker.get(50)
    worker.send(...requests.flatMap(({ tag, texts }) => [job(Buffer.alloc(TAG, 7), '', 'x', 'y', 'z'), job(tag, '', ...texts), job(tag, '', 'repeated')]))
    assert.deepEqual((await Promise.all(replies)).map(asText), numbers(50).map(text => [text]))
    assert.equal(counts(pipe).done, 50)
  })

  test(`${kind}: a reply that comes while its request is given up takes nothing from those beside it`, { timeout }, async t => {
    const { pipe, address } = await requester(t)
    const worker = await dialIt(t, address)
    const all = numbers(10).map(text => ask(pipe, text))
    const requests = await worker.get(10)
    const done = new Promise(resolve => {
      worker.peer.flush(...requests.map(({ tag, texts }) => job(tag, '', ...texts, 'and more'))).then(() => {
        // All of them are with this thread before it looks.
        while (pipe.stats().request.done < 10);
        for (const { abandon } of all.filter((_, index) => index % 3 === 0)) abandon()
        resolve()
      })
    })
    await done
    for (const [index, { reply }] of all.entries()) {
      if (index % 3 === 0) await assert.rejects(reply, /enough/)
      else assert.deepEqual(asText(await reply), [String(index), 'and more'])
    }
  })
}

const malformed = tag => ({
  'one frame': [job('x')],
  'an empty frame': [job('')],
  'two frames': [job('x', 'y')],
  'an empty frame and a body': [job('', 'x')],
  'the tag alone': [job(tag)],
  'the envelope alone': [job(tag, '')],
  'the tag and a body without the empty frame': [job(tag, 'x')],
  'another address before the empty frame': [job(tag, 'x', '', 'y')],
  'another address before the tag': [job('x', tag, '', 'y')],
  'a tag of 11 bytes': [job(tag.subarray(1), '', 'x')],
  'a tag of 13 bytes': [job(Buffer.concat([tag, tag.subarray(0, 1)]), '', 'x')],
  'a tag of no bytes': [job('', '', 'x')],
  'a large frame': [job(Buffer.alloc(200_000))],
  'a large frame behind the tag': [job(tag, Buffer.alloc(200_000), 'x')],
  '1,025 frames': [job(tag, '', ...Array(1023).fill('x'))],
  'reserved flags': [frame('x', { flags: 8 })]
})
const KINDS = Object.keys(malformed(Buffer.alloc(TAG)))

/** Those that break ZMTP, not only the envelope. */
const FRAMING = ['1,025 frames', 'reserved flags']

for (const what of KINDS.filter(what => !FRAMING.includes(what))) {
  test(`a reply of ${what} from a plain worker is ignored and told, and its requests stay open`, { timeout }, async t => {
    const { pipe, address } = await requester(t)
    const refused = []
    pipe.on('refused', event => refused.push(event))
    const worker = await dialPlainWorker(t, address, 'ROUTER')
    const replies = askAll(pipe, numbers(3))
    const requests = await worker.get(3)
    for (let i = 0; i < 100; i++) worker.send(...malformed(requests[1].tag)[what])
    for (const request of requests) worker.reply(request, `reply ${request.texts[0]}`)
    assert.deepEqual((await Promise.all(replies)).map(asText), numbers(3).map(text => [`reply ${text}`]))
    // A hundred are not a hundred events.
    assert.ok(refused.length >= 1 && refused.length < 10, `${refused.length} events`)
    for (const { end, code } of refused) assert.deepEqual([end, code], ['request', 'ERR_ZEROPIPE_PROTOCOL'])
    assert.equal(pipe.stats().request.peers.length, 1)
  })
}

for (const what of FRAMING) {
  test(`a reply of ${what} ends the link of a plain worker`, { timeout }, async t => {
    const { pipe, address } = await requester(t)
    const refused = happening(pipe, 'refused')
    const [bad, good] = [await dialPlainWorker(t, address, 'ROUTER'), await dialPlainWorker(t, address)]
    ask(pipe, 'first')
    ask(pipe, 'second')
    const [{ tag }] = await bad.get(1)
    bad.send(...malformed(tag)[what])
    const event = await refused
    assert.equal(event.end, 'request')
    assert.match(event.code, what === '1,025 frames' ? /^ERR_ZEROPIPE_MESSAGE_TOO_LARGE$/ : /^ERR_ZEROPIPE_PROTOCOL$/)
    await bad.closed
    const third = pipe.request('third')
    await good.when(() => good.texts.includes('third'))
    good.reply(good.requests.at(-1), 'reply')
    assert.deepEqual(asText(await third), ['reply'])
  })
}

for (const what of KINDS) {
  test(`a reply of ${what} ends the link of a zeropipe worker, and its requests go to another`, { timeout }, async t => {
    const { pipe, address } = await requester(t)
    const refused = happening(pipe, 'refused')
    const bad = await granted(t, address, 3)
    const replies = askAll(pipe, numbers(3))
    const requests = await bad.get(3)
    const good = await granted(t, address)
    bad.send(...malformed(requests[1].tag)[what])
    assert.equal((await refused).end, 'request')
    await bad.closed
    await good.get(3)
    assert.deepEqual(good.requests.map(({ texts, tag, id, attempt }) => [texts[0], tag, id === undefined, attempt]), requests.map(({ texts, tag }) => [texts[0], tag, false, '2']))
    for (const request of good.requests) good.answer(request, `reply ${request.texts[0]}`)
    assert.deepEqual((await Promise.all(replies)).map(asText), numbers(3).map(text => [`reply ${text}`]))
    await good.ask()
    assert.deepEqual(counts(pipe), { ...NOTHING, done: 3 })
  })

  test(`replies that come before one of ${what} still count, and are asked for no more`, { timeout }, async t => {
    const { pipe, address } = await requester(t)
    const bad = await granted(t, address, 3)
    const replies = askAll(pipe, numbers(3))
    const requests = await bad.get(3)
    const left = happening(pipe, 'leave')
    bad.send(job(requests[0].tag, '', 'zero'), job(requests[2].tag, '', 'two'), ...malformed(requests[1].tag)[what])
    await left
    assert.deepEqual([asText(await replies[0]), asText(await replies[2])], [['zero'], ['two']])
    const good = await granted(t, address)
    good.answer((await good.get(1))[0], 'one')
    assert.deepEqual(asText(await replies[1]), ['one'])
    await good.ask()
    assert.deepEqual(good.texts, ['1'])
    assert.deepEqual(counts(pipe), { ...NOTHING, done: 3 })
  })
}

test('a REJECT, a RETURN and an ACK that come before a malformed reply still count', { timeout }, async t => {
  const { pipe, address } = await requester(t, { maxAttempts: 1 })
  const bad = await granted(t, address, 4)
  const replies = askAll(pipe, numbers(4))
  const requests = await bad.get(4)
  const left = happening(pipe, 'leave')
  bad.send(credit(0), reject(1, 'E_NO', 'never'), giveBack(2), job(requests[2].tag, '', 'two'), ack(3), job('malformed'))
  await left
  await assert.rejects(replies[0], code('E_NO'))
  assert.deepEqual(asText(await replies[2]), ['two'])
  await assert.rejects(replies[3], code('ERR_ZEROPIPE_JOB_FAILED'))
  const good = await granted(t, address)
  // It was no attempt.
  const [{ texts, attempt }] = await good.get(1)
  assert.deepEqual([texts, attempt], [['1'], undefined])
  good.answer(good.requests[0], 'one')
  assert.deepEqual(asText(await replies[1]), ['one'])
  await good.ask()
  assert.deepEqual(counts(pipe), { ...NOTHING, done: 3, dead: 1 })
})

test('a worker that was not given a request can not answer it by guessing, all but one bit of the tag known', { timeout }, async t => {
  const { pipe, address } = await requester(t)
  const worker = await granted(t, address, 1)
  const reply = pipe.request('secret')
  const [{ tag }] = await worker.get(1)
  const [flow, plain] = [await granted(t, address, 0), await dialPlainWorker(t, address)]
  for (const other of [flow, plain]) {
    for (let bit = 0; bit < 8 * TAG; bit++) {
      const guess = Buffer.from(tag)
      guess[bit >> 3] ^= 1 << (bit & 7)
      other.send(job(guess, '', 'forged'))
    }
    await other.ask()
  }
  assert.deepEqual(await standing(reply), ['pending'])
  worker.answer(worker.requests[0], 'right')
  assert.deepEqual(asText(await reply), ['right'])
  assert.deepEqual([flow.requests, plain.requests], [[], []])
  assert.equal(pipe.stats().request.peers.length, 3)
})

// REJECT, NACK, RETURN, ACK.

for (const [what, given, wanted] of [
  ['a code and a text', ['E_NO', 'never'], ['E_NO', 'never']],
  ['no code', ['', 'never'], ['ERR_ZEROPIPE_JOB_FAILED', 'never']],
  ['no text', ['E_NO', ''], ['E_NO', '']],
  ['neither', ['', ''], ['ERR_ZEROPIPE_JOB_FAILED', '']],
  ['the longest of both', ['c'.repeat(255), 't'.repeat(1024)], ['c'.repeat(255), 't'.repeat(1024)]],
  ['other letters', ['É', 'größer als 😀'], ['É', 'größer als 😀']],
  ['what is no UTF-8', ['E', Buffer.from([0x61, 0xff, 0x62])], ['E', 'a\ufffdb']]
]) {
  test(`a REJECT of ${what} is what the request rejects with, and settles it`, { timeout }, async t => {
    const { pipe, address } = await requester(t)
    const worker = await granted(t, address)
    const replies = [pipe.request('first'), pipe.request('second')]
    await worker.get(2)
    worker.send(reject(1, ...given))
    await assert.rejects(replies[0], error => {
      assert.deepEqual([error.code, error.message], wanted)
      return error instanceof Error
    })
    await worker.ask()
    const { inFlight, queued } = counts(pipe)
    assert.deepEqual({ inFlight, queued }, { inFlight: 1, queued: 0 })
    worker.answer(worker.requests[1], 'reply')
    assert.deepEqual(asText(await replies[1]), ['reply'])
    // It is answered: neither sent again, nor counted as a failure.
    await leave(pipe, worker)
    const other = await granted(t, address)
    await other.ask()
    assert.deepEqual(other.requests, [])
    assert.deepEqual(counts(pipe), { ...NOTHING, done: 2 })
  })
}

/** What a worker with the requests 1 to 3 in flight may not say. */
const breaches = {
  'a REJECT without data': [command('REJECT')],
  'a REJECT without a code length': [command('REJECT', u64(1))],
  'a REJECT whose number is cut off': [command('REJECT', u64(1).subarray(1))],
  'a REJECT whose code is cut off': [command('REJECT', Buffer.concat([u64(1), Buffer.from([5]), Buffer.from('E_NO')]))],
  'a REJECT of a code of 255 bytes that has none': [command('REJECT', Buffer.concat([u64(1), Buffer.from([255])]))],
  'a REJECT with a text of 1,025 bytes': [reject(1, 'E', 'x'.repeat(1025))],
  'a REJECT of 0': [reject(0, 'E', 'no')],
  'a REJECT of a request that was never sent': [reject(4, 'E', 'no')],
  'a REJECT of the last there could be': [reject(LAST, 'E', 'no')],
  'a REJECT within a message': [frame('x', { more: true }), reject(1, 'E', 'no')],
  'an ACK of a request that was never sent': [ack(4)],
  'an ACK without ranges': [command('ACK')],
  'a RETURN of a request that was never sent': [giveBack(4)],
  'a NACK of a request that was never sent': [nack(4, 'no')],
  'a JOB': [mark({ id: '0123456789abcdef-1' })],
  'a CREDIT that is cut off': [command('CREDIT', u64(1))],
  'a reply over the limit': [header(2 ** 40)],
  'a reply without an envelope': [job('x')]
}
for (const [what, bytes] of Object.entries(breaches)) {
  test(`${what} ends the link, and its requests go to another as attempt 2`, { timeout }, async t => {
    const { pipe, address } = await requester(t)
    const refused = happening(pipe, 'refused')
    const [bad, good] = [await granted(t, address, 3), await dialWorker(t, address)]
    const replies = askAll(pipe, numbers(3))
    const before = await bad.get(3)
    bad.send(...bytes)
    const event = await refused
    assert.deepEqual([event.end, event.code], ['request', what.endsWith('limit') ? 'ERR_ZEROPIPE_MESSAGE_TOO_LARGE' : 'ERR_ZEROPIPE_PROTOCOL'])
    await bad.closed
    assert.deepEqual(await standing(...replies), ['pending', 'pending', 'pending'])
    good.credit(3)
    const after = await good.get(3)
    assert.deepEqual(after.map(({ frames, attempt }) => [frames, attempt]), before.map(({ frames }) => [frames, '2']))
    for (const request of after) good.answer(request, ...request.texts)
    assert.deepEqual((await Promise.all(replies)).map(asText), numbers(3).map(text => [text]))
    await good.ask()
    assert.deepEqual(counts(pipe), { ...NOTHING, done: 3 })
  })
}

for (const [what, before] of [['acknowledged', ack(1)], ['rejected', reject(1, 'E', 'no')], ['RETURNed', giveBack(1)], ['NACKed', nack(1)]]) {
  test(`a REJECT of a request that was ${what} ends the link`, { timeout }, async t => {
    const { pipe, address } = await requester(t)
    const refused = happening(pipe, 'refused')
    const worker = await granted(t, address, 1)
    ask(pipe, 'job')
    const [{ tag }] = await worker.get(1)
    worker.send(job(tag, '', 'reply'), before, reject(1, 'E', 'no'))
    assert.equal((await refused).code, 'ERR_ZEROPIPE_PROTOCOL')
    await worker.closed
  })
}

test('a REJECT of a request of another link is none of this one', { timeout }, async t => {
  const { pipe, address } = await requester(t)
  const refused = happening(pipe, 'refused')
  const honest = await granted(t, address, 1)
  const reply = pipe.request('job')
  await honest.get(1)
  const bad = await granted(t, address)
  bad.send(reject(1, 'E', 'forged'))
  assert.equal((await refused).code, 'ERR_ZEROPIPE_PROTOCOL')
  assert.deepEqual(await standing(reply), ['pending'])
  honest.answer(honest.requests[0], 'right')
  assert.deepEqual(asText(await reply), ['right'])
})

test('toward PUSH a REJECT, well formed and of a job in flight, ends the link', { timeout }, async t => {
  const { pipe, address } = await pusher(t)
  const refused = happening(pipe, 'refused')
  const bad = await dialPull(t, address)
  bad.credit(1)
  await pipe.push('job')
  await bad.get(1)
  bad.send(reject(1, 'E', 'no'))
  const { end, code } = await refused
  assert.deepEqual([end, code], ['push', 'ERR_ZEROPIPE_PROTOCOL'])
  const { queued, inFlight, done } = pipe.stats().push
  assert.deepEqual({ queued, inFlight, done }, { queued: 1, inFlight: 0, done: 0 })
})

test('a message from a PULL ends the link though a DEALER may get one', { timeout }, async t => {
  const { pipe, address } = await pusher(t)
  const refused = happening(pipe, 'refused')
  const bad = await dialPull(t, address)
  bad.send(job(Buffer.alloc(TAG), '', 'x'))
  assert.equal((await refused).code, 'ERR_ZEROPIPE_PROTOCOL')
})

test('a REJECT behind the reply changes nothing, and the request counts once', { timeout }, async t => {
  const { pipe, address } = await requester(t)
  const worker = await granted(t, address)
  const reply = pipe.request('job')
  const [{ tag }] = await worker.get(1)
  worker.send(job(tag, '', 'reply'), reject(1, 'E', 'after all not'))
  assert.deepEqual(asText(await reply), ['reply'])
  await worker.ask()
  assert.deepEqual(counts(pipe), { ...NOTHING, done: 1 })
})

test('a REJECT of a request that was given up counts as no answer', { timeout }, async t => {
  const { pipe, address } = await requester(t)
  const worker = await granted(t, address)
  const { reply, abandon } = ask(pipe, 'job')
  await worker.get(1)
  abandon()
  await assert.rejects(reply, /enough/)
  await worker.ask()
  worker.send(reject(1, 'E', 'too late'))
  await worker.ask()
  assert.deepEqual(counts(pipe), NOTHING)
})

test('a reply behind the REJECT changes nothing', { timeout }, async t => {
  const { pipe, address } = await requester(t)
  const worker = await granted(t, address)
  const reply = pipe.request('job')
  const [request] = await worker.get(1)
  worker.send(reject(1, 'E', 'no'))
  await assert.rejects(reply, code('E'))
  worker.reply(request, 'after all')
  await worker.ask()
  assert.deepEqual(counts(pipe), { ...NOTHING, done: 1 })
})

test('what is RETURNed goes back to the front, as no attempt, with the same id and the same bytes', { timeout }, async t => {
  const { pipe, address } = await requester(t, { maxAttempts: 1 })
  const worker = await granted(t, address, 3)
  const replies = numbers(5).map(text => pipe.request([text, 'more']))
  const before = await worker.get(3)
  worker.credit(0).send(giveBack(1, 3))
  await worker.ask()
  worker.credit(7)
  const after = (await worker.get(7)).slice(3)
  assert.deepEqual(after.map(({ texts, attempt }) => [texts[0], attempt]), [['0', undefined], ['2', undefined], ['3', undefined], ['4', undefined]])
  assert.deepEqual([after[0].frames, after[1].frames], [before[0].frames, before[2].frames])
  for (const request of [before[1], ...after]) worker.answer(request, ...request.texts)
  assert.deepEqual((await Promise.all(replies)).map(asText), numbers(5).map(text => [text, 'more']))
})

test('what is NACKed comes back after a pause as attempt 2, and others pass it', { timeout }, async t => {
  const { pipe, address } = await requester(t)
  const worker = await granted(t, address, 1)
  const replies = askAll(pipe, numbers(3))
  const [{ tag, id }] = await worker.get(1)
  worker.send(nack(1, 'no')).credit(10)
  await worker.get(4)
  assert.deepEqual(worker.requests.map(({ texts, attempt }) => [texts[0], attempt]), [['0', undefined], ['1', undefined], ['2', undefined], ['0', '2']])
  assert.deepEqual([worker.requests[3].tag, worker.requests[3].id], [tag, id])
  for (const request of worker.requests.slice(1)) worker.answer(request, ...request.texts)
  assert.deepEqual((await Promise.all(replies)).map(asText), numbers(3).map(text => [text]))
  await worker.ask()
  assert.deepEqual(counts(pipe), { ...NOTHING, done: 3 })
  assert.equal(pipe.stats().request.redelivered, 1)
})

for (const [what, word] of [['RETURNed', giveBack(1)], ['NACKed', nack(1, 'no')]]) {
  test(`what is ${what} and answered all the same is not sent again`, { timeout }, async t => {
    const { pipe, address } = await requester(t)
    const worker = await granted(t, address, 1)
    const reply = pipe.request('job')
    const [request] = await worker.get(1)
    worker.send(word)
    await worker.ask()
    worker.reply(request, 'after all')
    assert.deepEqual(asText(await reply), ['after all'])
    await worker.ask()
    assert.deepEqual(counts(pipe), { ...NOTHING, done: 1 })
    worker.credit(100)
    await pause(worker, pipe, 2)
    assert.ok(!worker.texts.slice(1).includes('job'), 'it was sent again')
  })

  test(`what is answered and then ${what} is not sent again`, { timeout }, async t => {
    const { pipe, address } = await requester(t)
    const worker = await granted(t, address)
    const reply = pipe.request('job')
    const [request] = await worker.get(1)
    worker.reply(request, 'reply').send(word)
    assert.deepEqual(asText(await reply), ['reply'])
    await worker.ask()
    assert.deepEqual(counts(pipe), { ...NOTHING, done: 1 })
    await pause(worker, pipe, 2)
    assert.ok(!worker.texts.slice(1).includes('job'), 'it was sent again')
  })
}

/** The pause of another request, which is sent from now on and NACKed, so that those that paused before are over. */
async function pause (worker, pipe, times) {
  for (; times > 0; times--) {
    const reply = pipe.request(`clock ${times}`)
    const ticks = () => worker.requests.filter(({ texts }) => texts[0] === `clock ${times}`)
    await worker.when(() => ticks().length === 1)
    worker.send(nack(ticks()[0].number))
    await worker.when(() => ticks().length === 2)
    worker.answer(ticks()[1], 'tick')
    await reply
  }
}

test('a request that is acknowledged without a reply is not waited for for ever', { timeout }, async t => {
  const { pipe, address } = await requester(t)
  const worker = await granted(t, address, 1)
  const { reply } = ask(pipe, 'job')
  await worker.get(1)
  worker.ack(1)
  await worker.ask().catch(() => {})
  // It may fail, or go to another worker.
  const other = await granted(t, address)
  await other.ask()
  const [state] = await standing(reply)
  assert.ok(state === 'rejected' || other.requests.length === 1, `${state}, and nobody has it`)
})

// The ends of links.

test('when a link ends, what is not answered goes to another as attempt 2, and what is does not', { timeout }, async t => {
  const { pipe, address } = await requester(t)
  const first = await granted(t, address, 8)
  const replies = numbers(8).map(text => pipe.request(text))
  const before = await first.get(8)
  first.answer(before[0], '0').reply(before[3], '3').reply(before[6], '6').reply(before[7], '7')
  for (const index of [0, 3, 6, 7]) assert.deepEqual(asText(await replies[index]), [String(index)])
  await leave(pipe, first)
  const second = await granted(t, address)
  const after = await second.get(4)
  await second.ask()
  assert.deepEqual(second.requests.map(({ texts, attempt }) => [texts[0], attempt]), [['1', '2'], ['2', '2'], ['4', '2'], ['5', '2']])
  for (const { frames, id, texts } of after) {
    assert.deepEqual(frames, before[Number(texts[0])].frames)
    // A mark came with the first alone: the others' ids follow from it.
    assert.equal(Number(id.split('-')[1]), Number(before[0].id.split('-')[1]) + Number(texts[0]))
  }
  for (const request of after) second.answer(request, ...request.texts)
  await Promise.all(replies)
  await second.ask()
  assert.deepEqual(counts(pipe), { ...NOTHING, done: 8 })
})

test('the reply of the last attempt counts though the link ends before its ACK', { timeout }, async t => {
  const { pipe, address } = await requester(t, { maxAttempts: 1 })
  const worker = await granted(t, address)
  const replies = [pipe.request('answered'), pipe.request('not')]
  const [request] = await worker.get(2)
  worker.reply(request, 'reply')
  assert.deepEqual(asText(await replies[0]), ['reply'])
  const failed = assert.rejects(replies[1], code('ERR_ZEROPIPE_JOB_FAILED'))
  await leave(pipe, worker)
  await failed
  assert.deepEqual(counts(pipe), { ...NOTHING, done: 1, dead: 1 })
})

test('a reply and the end of the connection in one go is a reply', { timeout }, async t => {
  const { pipe, address } = await requester(t)
  for (const kind of [granted, dialPlainWorker]) {
    const worker = await kind(t, address)
    const reply = pipe.request('job')
    const [{ tag }] = await worker.get(1)
    const left = happening(pipe, 'leave')
    worker.send(job(tag, '', 'last words'))
    worker.peer.end()
    assert.deepEqual(asText(await reply), ['last words'])
    await left
  }
  const other = await granted(t, address)
  await other.ask()
  assert.deepEqual(other.requests, [])
})

test('a reply of which the end is missing is none', { timeout }, async t => {
  const { pipe, address } = await requester(t)
  const first = await granted(t, address)
  const reply = pipe.request('job')
  const [{ tag }] = await first.get(1)
  await first.peer.flush(job(tag, '', 'whole').subarray(0, -1))
  const left = happening(pipe, 'leave')
  first.peer.end()
  await left
  const second = await granted(t, address)
  const [request] = await second.get(1)
  assert.equal(request.attempt, '2')
  second.answer(request, 'reply')
  assert.deepEqual(asText(await reply), ['reply'])
})

test('the late reply of a link that has ended, on another link of that worker, is a reply, and the request is not sent again', { timeout }, async t => {
  const { pipe, address } = await requester(t)
  const first = await granted(t, address)
  const reply = pipe.request('job')
  const [request] = await first.get(1)
  await leave(pipe, first)
  const second = await dialWorker(t, address)
  second.reply(request, 'late, but not too late')
  assert.deepEqual(asText(await reply), ['late, but not too late'])
  second.credit(100)
  await second.ask()
  assert.deepEqual(second.requests, [])
  assert.deepEqual(counts(pipe), { ...NOTHING, done: 1 })
})

test('a request that a plain worker has taken is not sent again when that leaves', { timeout }, async t => {
  const { pipe, address } = await requester(t)
  const worker = await dialPlainWorker(t, address)
  const reply = pipe.request('job', { timeout: 200 })
  reply.catch(() => {})
  await worker.get(1)
  await leave(pipe, worker)
  const other = await granted(t, address)
  await other.ask()
  assert.deepEqual(other.requests, [])
  await assert.rejects(reply, code('ERR_ZEROPIPE_TIMEOUT'))
  assert.deepEqual(counts(pipe), NOTHING)
  await pipe.close()
})

for (const [how, fail] of [['links that end', (pipe, worker) => leave(pipe, worker)], ['NACKs', async (pipe, worker) => {
  worker.send(nack(worker.requests.at(-1).number, 'said the worker'))
  await worker.ask(1)
  await leave(pipe, worker)
}]]) {
  test(`after maxAttempts ${how} a request is dead, and rejects`, { timeout }, async t => {
    const { pipe, address } = await requester(t, { maxAttempts: 3 })
    const events = []
    pipe.on('dead', event => events.push(event))
    const { reply } = ask(pipe, 'job')
    for (let attempt = 1; attempt <= 3; attempt++) {
      assert.deepEqual(await standing(reply), ['pending'])
      const worker = await granted(t, address, 1)
      const [request] = await worker.get(1)
      assert.equal(request.attempt, attempt === 1 ? undefined : String(attempt))
      await fail(pipe, worker)
    }
    await assert.rejects(reply, error => error.code === 'ERR_ZEROPIPE_JOB_FAILED' && error.message === (how === 'NACKs' ? 'said the worker' : 'the worker left with it'))
    const last = await granted(t, address)
    await last.ask()
    assert.deepEqual(last.requests, [])
    assert.deepEqual(counts(pipe), { ...NOTHING, dead: 1 })
    // Who has asked is told, and nobody else.
    assert.deepEqual(events, [])
    await pipe.close()
  })
}

test('a reply of just maxMessageSize is taken, with its envelope', { timeout }, async t => {
  const { pipe, address } = await requester(t, { maxMessageSize: 100_000 })
  const reply = pipe.request('job')
  const worker = await granted(t, address, 1)
  // The envelope counts, as it does in the request.
  const most = Buffer.alloc(100_000 - TAG - 2 * 64, 'm')
  worker.answer((await worker.get(1))[0], most)
  assert.ok((await reply)[0].equals(most))
})

// What nobody waits for.

test('a request that is given up before there is a worker is sent to none, and takes no room', { timeout }, async t => {
  const { pipe, address } = await requester(t)
  const kept = [ask(pipe, 'first')]
  for (let round = 0; round < 10; round++) await askInVain(pipe, 'in vain')
  kept.push(ask(pipe, 'last'))
  await standing(...kept.map(({ reply }) => reply))
  const worker = await granted(t, address)
  await worker.get(2)
  await worker.ask()
  assert.deepEqual(worker.texts, ['first', 'last'])
  for (const request of worker.requests) worker.answer(request, 'reply')
  await Promise.all(kept.map(({ reply }) => reply))
  await worker.ask()
  assert.deepEqual(counts(pipe), { ...NOTHING, done: 2 })
})

test('so is one whose time is over, and to a plain worker', { timeout }, async t => {
  const { pipe, address } = await requester(t)
  const late = ['late', Buffer.alloc(1 << 20), 'late too'].map(job => pipe.request(job, { timeout: 1 }))
  await Promise.all(late.map(reply => assert.rejects(reply, code('ERR_ZEROPIPE_TIMEOUT'))))
  const plain = await dialPlainWorker(t, address)
  ask(pipe, 'in time')
  await plain.get(1)
  await plain.ask()
  assert.deepEqual(plain.texts, ['in time'])
})

test('requests that are given up make room in a full queue', { timeout }, async t => {
  const { pipe, address } = await requester(t, { highWaterMark: { messages: 3 } })
  for (let round = 0; round < 5; round++) {
    const some = numbers(3).map(text => ask(pipe, text))
    await until(() => counts(pipe).queued === 3)
    for (const { abandon } of some) abandon()
    for (const { reply } of some) await assert.rejects(reply, /enough/)
  }
  const reply = pipe.request('after all')
  await standing(reply)
  const worker = await granted(t, address)
  await worker.get(1)
  await worker.ask()
  assert.deepEqual(worker.texts, ['after all'])
  worker.answer(worker.requests[0], 'reply')
  assert.deepEqual(asText(await reply), ['reply'])
})

test('one that waits for room in a full queue and is given up is never sent', { timeout }, async t => {
  const { pipe, address } = await requester(t, { highWaterMark: { messages: 1 } })
  const first = pipe.request('first')
  await standing(first)
  await askInVain(pipe, 'in vain')
  const third = pipe.request('third')
  const worker = await granted(t, address)
  for (let count = 1; count <= 2; count++) {
    const request = (await worker.get(count))[count - 1]
    worker.answer(request, ...request.texts)
  }
  assert.deepEqual([asText(await first), asText(await third)], [['first'], ['third']])
  assert.deepEqual(worker.texts, ['first', 'third'])
})

for (const [where, bring] of [
  ['in flight', async () => {}],
  ['in its pause', async worker => { worker.send(nack(1, 'no')); await worker.ask() }],
  ['RETURNed', async worker => { worker.credit(0).send(giveBack(1)); await worker.ask() }]
]) {
  test(`a request that is given up while it is ${where} is not sent again`, { timeout }, async t => {
    const { pipe, address } = await requester(t)
    const first = await granted(t, address, 1)
    const { reply, abandon } = ask(pipe, 'given up')
    await first.get(1)
    await bring(first)
    abandon()
    await assert.rejects(reply, /enough/)
    await first.ask()
    await leave(pipe, first)
    assert.deepEqual(counts(pipe), NOTHING)
    const second = await granted(t, address)
    await pause(second, pipe, 2)
    assert.ok(!second.texts.includes('given up'))
    await pipe.close()
  })
}

test('a third attempt that is given up holds up nothing', { timeout }, async t => {
  const { pipe, address } = await requester(t)
  const { reply, abandon } = ask(pipe, 'poison')
  for (let round = 0; round < 2; round++) {
    const worker = await granted(t, address, 1)
    await worker.get(1)
    await leave(pipe, worker)
  }
  const busy = await granted(t, address, 1)
  const other = pipe.request('other')
  await busy.when(() => busy.requests.length === 1)
  if (busy.texts[0] === 'poison') busy.credit(2)
  abandon()
  await assert.rejects(reply, /enough/)
  await busy.ask()
  if (busy.texts[0] === 'poison') busy.ack(1)
  await busy.when(() => busy.texts.includes('other'))
  busy.answer(busy.requests.at(-1), 'reply')
  assert.deepEqual(asText(await other), ['reply'])
  await busy.ask()
  assert.deepEqual(counts(pipe), { ...NOTHING, done: 1 })
})

test('requests that are given up while a stalled plain worker has them unwritten go to no other', { timeout }, async t => {
  const { pipe, address } = await requester(t)
  const stalled = await dial(t, address)
  await stalled.handshake('REP')
  stalled.stall()
  // More than the connection takes.
  const all = numbers(1000).map(text => ask(pipe, [text, Buffer.alloc(30_000)]))
  await standing(...all.map(({ reply }) => reply))
  while (counts(pipe).queued === 0) await standing()
  for (const { abandon } of all) abandon()
  await Promise.allSettled(all.map(({ reply }) => reply))
  const worker = await granted(t, address)
  ask(pipe, 'wanted')
  await worker.when(() => worker.texts.includes('wanted'))
  await worker.ask()
  assert.deepEqual(worker.texts, ['wanted'])
})

test('close waits for nothing that was given up, however fast that went', { timeout: 20_000 }, async t => {
  const { pipe, address } = await requester(t)
  await dialPlainWorker(t, address)
  await pipe.ready({ repliers: 1 })
  for (let round = 0; round < 100; round++) {
    // As many as fill a slab, so that the engine is at work while the last is given up.
    const all = Array.from({ length: 466 + round % 40 }, () => ask(pipe, 'x'))
    const last = ask(pipe, 'y')
    last.abandon()
    await standing(last.reply)
    for (const { abandon } of all) abandon()
    await Promise.allSettled(all.map(({ reply }) => reply))
  }
  await pipe.close()
})

// Credit.

test('nothing is sent before CREDIT, and then as many as were granted', { timeout }, async t => {
  const { pipe, address } = await requester(t)
  const worker = await dialWorker(t, address)
  for (const text of numbers(10)) ask(pipe, text)
  await worker.ask(10)
  assert.deepEqual(worker.requests, [])
  for (const jobs of [1, 2, 5, 5, 9]) {
    worker.credit(jobs)
    await worker.get(jobs)
    await worker.ask()
    assert.equal(worker.requests.length, jobs)
    const { queued, inFlight } = counts(pipe)
    assert.deepEqual({ queued, inFlight }, { queued: 10 - jobs, inFlight: jobs })
  }
  // An answer is no credit by itself.
  for (const request of worker.requests) worker.answer(request, 'reply')
  await worker.ask()
  assert.equal(worker.requests.length, 9)
})

test('a request counts what its job counts, and 140 bytes for the envelope', { timeout }, async t => {
  const { pipe, address } = await requester(t)
  const worker = await dialWorker(t, address)
  for (const text of numbers(5)) ask(pipe, [text.repeat(10), '']) // 214
  for (const [bytes, jobs] of [[1, 1], [214, 1], [215, 2], [428, 2], [429, 3], [857, 5]]) {
    worker.credit(NO_LIMIT, bytes)
    await worker.get(jobs)
    await worker.ask()
    assert.equal(worker.requests.length, jobs, `${bytes} bytes`)
  }
  assert.equal(counts(pipe).inFlightBytes, 5 * 214)
})

test('a CREDIT that is lowered holds, and what was sent before may be answered', { timeout }, async t => {
  const { pipe, address } = await requester(t)
  const worker = await granted(t, address, 2)
  const replies = [pipe.request('0'), pipe.request('1')]
  await worker.get(2)
  worker.credit(0, 0)
  ask(pipe, '2')
  await worker.ask()
  for (const request of worker.requests) worker.answer(request, 'reply')
  await Promise.all(replies)
  await worker.ask()
  assert.deepEqual(worker.texts, ['0', '1'])
})

test('flow and plain workers share the requests, and each answers its own', { timeout }, async t => {
  const { pipe, address } = await requester(t)
  const workers = [await granted(t, address), await dialPlainWorker(t, address), await granted(t, address), await dialPlainWorker(t, address, 'ROUTER')]
  const replies = numbers(200).map(text => pipe.request(text))
  const done = () => workers.reduce((sum, { requests }) => sum + requests.length, 0)
  while (done() < 200) for (const worker of workers) await worker.ask(1)
  for (const worker of workers) {
    assert.ok(worker.requests.length > 0)
    for (const request of worker.requests) worker.reply(request, ...request.texts)
  }
  assert.deepEqual((await Promise.all(replies)).map(asText), numbers(200).map(text => [text]))
  assert.equal(counts(pipe).done, 200)
})

// ackTimeout.

test('a request that is held for longer than ackTimeout goes to another, and the first reply counts', { timeout }, async t => {
  const { pipe, address } = await requester(t, { ackTimeout: 50 })
  const slow = await granted(t, address, 1)
  const reply = pipe.request('job')
  const [request] = await slow.get(1)
  const other = await granted(t, address, 1)
  const [again] = await other.get(1)
  assert.deepEqual([again.tag, again.attempt], [request.tag, '2'])
  slow.answer(request, 'slow, but first')
  assert.deepEqual(asText(await reply), ['slow, but first'])
  other.answer(again, 'second')
  await other.ask()
  await slow.ask()
  assert.deepEqual(counts(pipe), { ...NOTHING, done: 1 })
})

test('one that waits for another worker by then is sent to none once its reply is here', { timeout }, async t => {
  const { pipe, address } = await requester(t, { ackTimeout: 50 })
  const slow = await granted(t, address, 1)
  const reply = pipe.request('job')
  const [request] = await slow.get(1)
  while (counts(pipe).queued === 0) await slow.ask(1)
  slow.reply(request, 'late') // and no ACK
  assert.deepEqual(asText(await reply), ['late'])
  const other = await granted(t, address)
  await other.ask()
  assert.deepEqual(other.requests, [])
  assert.deepEqual(counts(pipe), { ...NOTHING, done: 1 })
})

test('a REJECT after ackTimeout is an answer, and the request goes to nobody else', { timeout }, async t => {
  const { pipe, address } = await requester(t, { ackTimeout: 50 })
  const slow = await granted(t, address, 1)
  const reply = pipe.request('job')
  reply.catch(() => {})
  await slow.get(1)
  while (counts(pipe).queued === 0) await slow.ask(1)
  slow.send(reject(1, 'E_LATE', 'no'))
  await assert.rejects(reply, code('E_LATE'))
  const other = await granted(t, address)
  await other.ask()
  assert.deepEqual(other.requests, [])
  assert.deepEqual(counts(pipe), { ...NOTHING, done: 1 })
})

// The end.

test('close waits for the replies to what is open, and the link ends in order', { timeout }, async t => {
  const { pipe, address } = await requester(t)
  const worker = await granted(t, address)
  const replies = [pipe.request('answered'), pipe.request('rejected')]
  replies[1].catch(() => {})
  await worker.get(2)
  const closing = pipe.close()
  assert.deepEqual(await standing(closing), ['pending'])
  await worker.ask()
  worker.answer(worker.requests[0], 'reply').send(reject(2, 'E', 'no'))
  assert.deepEqual(asText(await replies[0]), ['reply'])
  await assert.rejects(replies[1], code('E'))
  await closing
  await worker.closed
})

test('close gives up what is open after linger, and says so to who waits', { timeout }, async t => {
  const { pipe, address } = await requester(t)
  const worker = await granted(t, address, 1)
  const replies = [pipe.request('in flight'), pipe.request('waits')]
  replies.forEach(reply => reply.catch(() => {}))
  await worker.get(1)
  await pipe.close({ linger: 0 })
  for (const reply of replies) await assert.rejects(reply, code('ERR_ZEROPIPE_CLOSED'))
  worker.reply(worker.requests[0], 'too late').send(reject(1, 'E', 'too late'), job('and wrong'))
  await worker.closed
  await assert.rejects(pipe.request('too late'), code('ERR_ZEROPIPE_CLOSED'))
})

test('a hundred workers that break the rules one after the other leave nothing behind', { timeout: 30_000 }, async t => {
  const { pipe, address } = await requester(t, { maxAttempts: 1000 })
  const replies = askAll(pipe, numbers(3))
  const all = Object.values(breaches)
  for (let round = 0; round < 100; round++) {
    const bad = await dialWorker(t, address)
    const left = happening(pipe, 'leave')
    bad.credit(1)
    await bad.get(1)
    bad.send(...all[round % all.length], ack(2))
    await left
    assert.deepEqual({ ...counts(pipe), queuedBytes: 0 }, { ...NOTHING, queued: 3 })
    assert.deepEqual(pipe.stats().request.peers, [])
  }
  const good = await granted(t, address)
  for (let settled = 0; settled < 3; settled++) {
    const requests = await good.get(settled + 1)
    good.answer(requests[settled], ...requests[settled].texts)
  }
  assert.deepEqual((await Promise.all(replies)).map(asText), numbers(3).map(text => [text]))
})

// Who may answer.

for (const [kind, makeWorker] of [['zeropipe', (t, address) => granted(t, address, 1)], ['plain', (t, address) => dialPlainWorker(t, address, 'ROUTER')]]) {
  test(`a reply from a ${kind} worker that was not asked is ignored, whatever it knows`, { timeout }, async t => {
    const { pipe, address } = await requester(t)
    const workers = [await makeWorker(t, address), await makeWorker(t, address)]
    const reply = pipe.request('question')
    const asked = await Promise.race(workers.map(worker => worker.get(1).then(() => worker)))
    const other = workers.find(worker => worker !== asked)
    const [request] = asked.requests
    other.reply(request, 'forged')
    await other.ask(1)
    assert.deepEqual(await standing(reply), ['pending'])
    asked.reply(request, 'genuine')
    assert.deepEqual(asText(await reply), ['genuine'])
    assert.equal(pipe.stats().request.done, 1)
  })
}

// Replies over the limit.

for (const [kind, makeWorker] of [['zeropipe', (t, address) => granted(t, address, 3)], ['plain', (t, address) => dialPlainWorker(t, address, 'ROUTER')]]) {
  for (const [how, frames] of [['one frame', [Buffer.alloc(300_000)]], ['many frames', Array(200).fill(Buffer.alloc(1000))], ['small frames and a large one', ['x', Buffer.alloc(200_000), 'y']]]) {
    test(`a reply of ${how} over maxMessageSize from a ${kind} worker rejects its request alone`, { timeout }, async t => {
      const { pipe, address } = await requester(t, { maxMessageSize: 100_000 })
      const left = []
      pipe.on('leave', event => left.push(event))
      const worker = await makeWorker(t, address)
      const replies = askAll(pipe, numbers(3))
      replies[1].catch(() => {})
      const requests = await worker.get(3)
      worker.reply(requests[0], 'before').reply(requests[1], ...frames).reply(requests[2], 'behind')
      assert.deepEqual([asText(await replies[0]), asText(await replies[2])], [['before'], ['behind']])
      await assert.rejects(replies[1], { code: 'ERR_ZEROPIPE_MESSAGE_TOO_LARGE', message: /100000 bytes/ })
      if (kind === 'zeropipe') worker.ack([1, 3])
      await worker.ask(1)
      assert.deepEqual(left, [])
      assert.deepEqual([pipe.stats().request.done, pipe.stats().request.peers.length], [3, 1])
    })
  }
}
