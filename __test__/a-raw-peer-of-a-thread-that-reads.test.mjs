// A thread that alone waits for what a connection brings reads it by itself (src/engine/tap.rs), past the I/O thread. Whatever happens
// meanwhile must be as if it did not.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { puller, replier, requester } from './helpers/ends.mjs'
import { ack, credit, dialPush, giveBack, mark, nack, offer, u64 } from './helpers/flow.mjs'
import { happening } from './helpers/happening.mjs'
import { open } from './helpers/open.mjs'
import { command, frame, header, job, ping } from './helpers/raw-peer.mjs'
import { asText, dialWorker, reject } from './helpers/raw-requests.mjs'
import { limit, WARM, echo, code, ask, isSettled, pair, serve, rawWorker, rawAsker, askRaw } from './helpers/reading.mjs'
import { texts } from './helpers/take.mjs'
import { until } from './helpers/until.mjs'

// Raw workers that break rules, at a requester who reads by himself.

for (const [what, attack, expected] of [
  ['a reply without an envelope', raw => raw.send(job('what')), 'ERR_ZEROPIPE_PROTOCOL'],
  ['a reply with a tag that is too short', raw => raw.send(job(Buffer.alloc(11), '', 'x')), 'ERR_ZEROPIPE_PROTOCOL'],
  ['a reply without a body', (raw, { tag }) => raw.send(job(tag, '')), 'ERR_ZEROPIPE_PROTOCOL'],
  ['a frame of 4 TiB', raw => raw.send(header(2 ** 42)), 'ERR_ZEROPIPE_MESSAGE_TOO_LARGE'],
  ['a frame of 2^63 bytes', raw => raw.send(header(2n ** 63n)), undefined],
  ['a reserved flag', raw => raw.send(frame('x', { flags: 0x80 })), undefined],
  ['an ACK of what was never sent', raw => raw.send(ack(1e6)), 'ERR_ZEROPIPE_PROTOCOL'],
  ['an ACK for the second time', raw => raw.send(ack(1)), 'ERR_ZEROPIPE_PROTOCOL'],
  ['a RETURN of what was answered', raw => raw.send(giveBack(1)), 'ERR_ZEROPIPE_PROTOCOL'],
  ['a NACK of what was never sent', raw => raw.send(nack(1e6, 'no')), 'ERR_ZEROPIPE_PROTOCOL'],
  ['a REJECT of what was never sent', raw => raw.send(reject(1e6, 'E', 'no')), 'ERR_ZEROPIPE_PROTOCOL'],
  ['a CREDIT that is too short', raw => raw.send(command('CREDIT', u64(1))), 'ERR_ZEROPIPE_PROTOCOL'],
  ['a JOB', raw => raw.send(mark({ id: '0123456789abcdef-1' })), 'ERR_ZEROPIPE_PROTOCOL'],
  ['a command of flow within a reply', (raw, { tag }) => raw.send(frame(tag, { more: true }), ack(1)), 'ERR_ZEROPIPE_PROTOCOL'],
  ['an ERROR', raw => raw.send(command('ERROR', Buffer.from([2, 110, 111]))), undefined]
]) {
  test(`${what}, after a good reply in the same write and alone: the good one counts, that link ends, and the request goes to another`, limit, async t => {
    const { pipe: near, address } = await requester(t)
    let done = 0
    for (let round = 0; round < 6; round++) {
      const raw = await rawWorker(t, near, address, 100)
      done += 100
      const refused = happening(near, 'refused')
      const left = happening(near, 'leave')
      const before = raw.requests.length
      const [good, lost] = [near.request('good'), near.request('lost')]
      await raw.get(before + 2)
      const [first, second] = raw.requests.slice(before)
      if (round % 2 === 0) {
        // In one write with what is good before it.
        const sent = []
        const collector = { send: (...bytes) => sent.push(...bytes) }
        attack(collector, second)
        raw.send(job(first.tag, '', 'good'), ack(first.number), ...sent)
      } else {
        raw.answer(first, 'good')
        await good
        attack(raw, second)
      }
      assert.deepEqual(texts([await good]), ['good'])
      if (expected !== undefined) assert.equal((await refused).code, expected)
      else await refused
      await Promise.all([left, raw.closed])
      const next = await dialWorker(t, address)
      next.credit(1)
      const [again] = await next.get(1)
      assert.equal(again.texts[0], 'lost')
      assert.equal(again.attempt, '2')
      next.answer(again, 'found')
      assert.deepEqual(texts([await lost]), ['found'])
      done += 2
      await isSettled(near, done)
      const gone = happening(near, 'leave')
      next.peer.end()
      await gone
    }
  })
}

test('replies that nobody asked for, and to what was answered, come to nobody and are not counted in the end', limit, async t => {
  const { pipe: near, address } = await requester(t)
  const raw = await rawWorker(t, near, address)
  let done = WARM
  for (let round = 0; round < 50; round++) {
    const old = raw.requests[round]
    const foreign = Buffer.from(old.tag)
    foreign.writeUInt32BE(77)
    const guessed = Buffer.from(old.tag)
    guessed.writeUInt32BE(12345, 8)
    const stop = serve(raw, request => raw.send(job(old.tag, '', 'old'), job(guessed, '', 'guessed'), ...round % 2 === 0 ? [job(foreign, '', 'foreign')] : [], job(request.tag, '', ...request.texts), job(request.tag, '', 'twice'), ack(request.number)))
    await ask(near, 20)
    stop()
    done += 20
    await raw.ask(1)
    await isSettled(near, done)
    assert.equal(near.stats().request.peers[0].done, done)
  }
})

test('a reply to an open request whose secret is wrong is not its reply', limit, async t => {
  const { pipe: near, address } = await requester(t)
  const raw = await rawWorker(t, near, address)
  for (let round = 0; round < 30; round++) {
    const stop = serve(raw, request => {
      for (const at of [4, 7, 8, 11]) {
        const tag = Buffer.from(request.tag)
        tag[at] ^= 1
        raw.send(job(tag, '', 'wrong'))
      }
      raw.answer(request, ...request.texts)
    })
    await ask(near, 30)
    stop()
  }
  await raw.ask(1)
  await isSettled(near, WARM + 900)
})

test('replies byte by byte', limit, async t => {
  const { pipe: near, address } = await requester(t)
  const raw = await rawWorker(t, near, address)
  for (let round = 0; round < 20; round++) {
    const before = raw.requests.length
    const asked = ask(near, 1)
    await raw.get(before + 1)
    const { tag, number, texts } = raw.requests[before]
    const bytes = Buffer.concat([job(tag, '', ...texts), ack(number)])
    for (const byte of bytes) {
      await raw.peer.flush(Buffer.from([byte]))
      if (round % 2 === 0) await setImmediate()
    }
    await asked
    const stop = serve(raw, request => raw.answer(request, ...request.texts))
    await ask(near, 30)
    stop()
  }
  await raw.ask(1)
  await isSettled(near, WARM + 20 * 31)
})

test('a reply in two halves, wherever it is cut, with a PING between', limit, async t => {
  const { pipe: near, address } = await requester(t)
  const raw = await rawWorker(t, near, address)
  for (let cut = 1; cut < 40; cut++) {
    const stop = serve(raw, request => raw.answer(request, ...request.texts))
    await ask(near, 12)
    stop()
    const before = raw.requests.length
    const asked = near.request('x')
    await raw.get(before + 1)
    const { tag, number } = raw.requests[before]
    // PINGs may stand between frames.
    const pongs = raw.pongs
    raw.send(frame(tag, { more: true }), ping(0, `cut ${cut}`))
    await raw.when(() => raw.pongs > pongs)
    const rest = Buffer.concat([frame('', { more: true }), frame('answer', { more: true }), frame(Buffer.alloc(30, 'z')), ack(number)])
    raw.send(rest.subarray(0, cut))
    await setImmediate()
    raw.send(rest.subarray(cut))
    assert.deepEqual(asText(await asked), ['answer', 'z'.repeat(30)])
  }
  await raw.ask(1)
  await isSettled(near, WARM + 39 * 13)
})

test('PINGs between replies are all answered', limit, async t => {
  const { pipe: near, address } = await requester(t)
  const raw = await rawWorker(t, near, address)
  const answered = new Set()
  const told = raw.told.bind(raw)
  raw.told = command => {
    if (command.name === 'PONG') answered.add(String(command.data))
    told(command)
  }
  const pings = []
  const stop = serve(raw, request => {
    pings.push(`ping ${pings.length}`)
    const bytes = [ping(0, pings.at(-1)), job(request.tag, '', ...request.texts), ack(request.number)]
    raw.send(...pings.length % 2 === 0 ? bytes : bytes.toReversed())
  })
  // One at a time, and never one more before the reply that came with it was heard.
  await ask(near, 1000)
  stop()
  raw.send(ping(0, 'last'))
  await raw.when(() => answered.has('last'))
  await isSettled(near, WARM + 1000)
  assert.deepEqual(pings.filter(text => !answered.has(text)), [])
})

test('REJECT, RETURN and NACK between replies do what they say', limit, async t => {
  const { pipe: near, address } = await requester(t)
  const raw = await rawWorker(t, near, address)
  let answered = WARM
  const tries = new Map()
  serve(raw, request => {
    const [text] = request.texts
    const attempts = tries.get(text) ?? 0
    tries.set(text, attempts + 1)
    if (text.startsWith('reject')) raw.send(reject(request.number, 'E_NO', text))
    else if (text.startsWith('return') && attempts === 0) raw.send(giveBack(request.number))
    else if (text.startsWith('nack') && attempts === 0) raw.send(nack(request.number, 'no'))
    else raw.answer(request, ...request.texts)
  })
  for (let round = 0; round < 30; round++) {
    const all = [
      assert.rejects(near.request(`reject ${round}`), error => error.code === 'E_NO' && error.message === `reject ${round}`),
      near.request(`return ${round}`).then(reply => assert.deepEqual(asText(reply), [`return ${round}`])),
      ask(near, 20)
    ]
    if (round % 10 === 0) all.push(near.request(`nack ${round}`).then(reply => assert.deepEqual(asText(reply), [`nack ${round}`])))
    await Promise.all(all)
    answered += 22 + Number(round % 10 === 0)
  }
  await raw.ask(1)
  await isSettled(near, answered)
  assert.ok([...tries].filter(([text]) => /^(return|nack)/.test(text)).every(([, times]) => times === 2))
})

test('an ACK without a reply fails the request, between others', limit, async t => {
  const { pipe: near, address } = await requester(t)
  const raw = await rawWorker(t, near, address)
  serve(raw, request => request.texts[0] === 'none' ? raw.ack(request.number) : raw.answer(request, ...request.texts))
  for (let round = 0; round < 20; round++) {
    await assert.rejects(near.request('none'), code('ERR_ZEROPIPE_JOB_FAILED'))
    await ask(near, 15)
  }
  await raw.ask(1)
  await isSettled(near, WARM + 300)
})

test('credit that comes while the thread reads lets what waits go', limit, async t => {
  const { pipe: near, address } = await requester(t)
  const raw = await dialWorker(t, address)
  let given = 0
  // One at a time: each reply brings the credit for the next.
  serve(raw, request => raw.send(job(request.tag, '', ...request.texts), ack(request.number), credit(++given)))
  raw.credit(++given)
  await ask(near, 300)
  await Promise.all([ask(near, 100), ask(near, 100), ask(near, 100)])
  await raw.ask(1)
  await isSettled(near, 600)
})

for (const [how, cut] of [['an orderly end', raw => raw.peer.end()], ['a reset', raw => raw.peer.reset()]]) {
  test(`${how} behind a reply: the reply counts, the request behind it goes to another`, limit, async t => {
    const { pipe: near, address } = await requester(t)
    let done = 0
    for (let round = 0; round < 10; round++) {
      const raw = await rawWorker(t, near, address, 100)
      const left = happening(near, 'leave')
      const before = raw.requests.length
      const [first, second] = [near.request('first'), near.request('second')]
      await raw.get(before + 2)
      await raw.peer.flush(job(raw.requests[before].tag, '', 'reply'), ack(raw.requests[before].number))
      if (round % 2 === 0) await first
      if (how === 'an orderly end' || round % 2 === 0) {
        cut(raw)
      } else {
        await first
        cut(raw)
      }
      assert.deepEqual(texts([await first]), ['reply'])
      const { code: why } = await left
      assert.match(why, /ERR_ZEROPIPE_DISCONNECTED|ECONNRESET/)
      const next = await dialWorker(t, address)
      next.credit(1)
      const [again] = await next.get(1)
      next.answer(again, 'again')
      assert.deepEqual(texts([await second]), ['again'])
      done += 102
      await isSettled(near, done)
      const gone = happening(near, 'leave')
      next.peer.end()
      await gone
    }
  })
}

test('a half of a reply and then the end: the request goes to another', limit, async t => {
  const { pipe: near, address } = await requester(t)
  for (let round = 0; round < 8; round++) {
    const raw = await rawWorker(t, near, address, 100)
    const left = happening(near, 'leave')
    const before = raw.requests.length
    const asked = near.request('x')
    await raw.get(before + 1)
    const bytes = job(raw.requests[before].tag, '', 'a reply that is cut')
    await raw.peer.flush(bytes.subarray(0, 1 + round * 4))
    raw.peer.end()
    await left
    const next = await dialWorker(t, address)
    next.credit(1)
    next.answer((await next.get(1))[0], 'whole')
    assert.deepEqual(texts([await asked]), ['whole'])
    const gone = happening(near, 'leave')
    next.peer.end()
    await gone
  }
  await isSettled(near, 8 * 101)
})

test('a flood of PINGs and replies that nobody asked for does not keep a request waiting', limit, async t => {
  const { pipe: near, address } = await requester(t)
  const raw = await rawWorker(t, near, address)
  const nonsense = Buffer.concat(Array(200).fill([job(raw.requests[0].tag, '', Buffer.alloc(100)), ping(0, 'x')]).flat())
  const stop = serve(raw, request => {
    raw.send(nonsense)
    raw.answer(request, ...request.texts)
  })
  await ask(near, 300)
  stop()
  const again = serve(raw, request => raw.answer(request, ...request.texts))
  await ask(near)
  again()
  await isSettled(near, 2 * WARM + 300)
})

// Raw askers, at a replier who reads by himself.

for (const [what, attack, expected] of [
  ['a frame of 4 TiB', raw => raw.send(header(2 ** 42)), 'ERR_ZEROPIPE_MESSAGE_TOO_LARGE'],
  ['a CREDIT', raw => raw.send(credit(1)), 'ERR_ZEROPIPE_PROTOCOL'],
  ['an ACK', raw => raw.send(ack(1)), 'ERR_ZEROPIPE_PROTOCOL'],
  ['a reserved flag', raw => raw.send(frame('x', { flags: 0x80 })), undefined],
  ['JOB within a request', raw => raw.send(frame('x', { more: true }), mark({ attempt: 2 })), 'ERR_ZEROPIPE_PROTOCOL']
]) {
  test(`${what} from a requester: what came before is answered, that link ends, and others are served`, limit, async t => {
    const ran = []
    const { near, far, address } = await pair(t, job => {
      ran.push(String(job[0]))
      return job
    })
    await near.close() // only there for its address
    for (let round = 0; round < 6; round++) {
      const raw = await rawAsker(t, address, 100)
      const refused = happening(far, 'refused')
      await raw.when(() => raw.left > 0)
      ran.length = 0
      if (round % 2 === 0) {
        const sent = [job('', 'good')]
        attack({ send: (...bytes) => sent.push(...bytes) })
        raw.send(...sent)
      } else {
        await askRaw(raw, 'good')
        attack(raw)
      }
      const { code: why } = await refused
      if (expected !== undefined) assert.equal(why, expected)
      await raw.closed
      assert.deepEqual(ran, ['good'])
    }
    const after = open(t, { request: address })
    await ask(after)
    await isSettled(after, WARM)
  })
}

test('more requests than were granted end the link, and others are served', limit, async t => {
  const gates = []
  const { near, far, address } = await pair(t, async job => {
    // Whoever is at work grants no more.
    if (String(job[0]) === 'hold') await new Promise(resolve => gates.push(resolve))
    return job
  })
  await near.close()
  for (let round = 0; round < 6; round++) {
    const raw = await rawAsker(t, address, 100)
    const refused = happening(far, 'refused')
    await raw.when(() => raw.left > 0)
    raw.send(job('', 'hold'))
    await until(() => gates.length > 0)
    // How much that is only the other side knows: credit may be on its way.
    const tooMany = Array.from({ length: 200 }, (_, index) => job('', `too many ${index}`))
    let isRefused = false
    refused.then(() => { isRefused = true })
    while (!isRefused) {
      raw.send(...tooMany)
      await setImmediate()
    }
    assert.equal((await refused).code, 'ERR_ZEROPIPE_PROTOCOL')
    await raw.closed
    gates.pop()()
  }
  const after = open(t, { request: address })
  await ask(after)
  await isSettled(after, WARM)
})

test('every request that a raw asker sends gets one word and one reply', limit, async t => {
  const { pipe: far, address } = await replier(t)
  far.reply(job => String(job[0]) === 'bad' ? Promise.reject(new Error('no')) : job)
  const raw = await rawAsker(t, address)
  raw.resends = true
  let bad = 0
  for (let round = 0; round < 60; round++) {
    for (let one = 0; one < 10; one++) await askRaw(raw, `one ${round} ${one}`)
    if (round % 3 === 0) {
      await raw.request('', 'bad')
      bad++
      await raw.when(() => raw.rejected.length === bad)
    }
    raw.send(ping(0, 'x'))
  }
  await raw.when(() => raw.settled.length === raw.sent)
  assert.deepEqual(raw.settled, Array.from({ length: raw.sent }, (_, index) => index + 1))
  assert.deepEqual([raw.replies.length, raw.rejected.length], [WARM + 600, bad])
  assert.equal(far.stats().reply.received, WARM + 600 + bad)
})

test('requests byte by byte, and PINGs between their frames', limit, async t => {
  const { pipe: far, address } = await replier(t)
  far.reply(echo)
  const raw = await rawAsker(t, address)
  for (let round = 0; round < 20; round++) {
    await raw.when(() => raw.left > 0)
    const before = raw.replies.length
    const bytes = Buffer.concat([frame('', { more: true }), ...round % 2 === 0 ? [ping(0, 'between')] : [], frame(`slow ${round}`)])
    raw.messages.push(['', `slow ${round}`])
    for (const byte of bytes) {
      await raw.peer.flush(Buffer.from([byte]))
      if (round % 4 < 2) await setImmediate()
    }
    await raw.get(before + 1)
    assert.equal(raw.texts.at(-1).at(-1), `slow ${round}`)
    for (let one = 0; one < 12; one++) await askRaw(raw, `one ${round} ${one}`)
  }
  await raw.when(() => raw.settled.length === raw.sent)
})

test('what is not a request at all is told and ignored between requests', limit, async t => {
  const { pipe: far, address } = await replier(t)
  far.reply(echo)
  const raw = await rawAsker(t, address)
  for (let round = 0; round < 20; round++) {
    const refused = happening(far, 'refused')
    await raw.request('no envelope')
    await refused
    for (let one = 0; one < 12; one++) await askRaw(raw, `one ${round} ${one}`)
  }
  await raw.when(() => raw.settled.length === raw.sent)
})

test('an asker that goes with a request in hand harms nobody', limit, async t => {
  const { pipe: far, address } = await replier(t)
  const gates = []
  far.reply(async job => {
    if (String(job[0]) === 'hold') await new Promise(resolve => gates.push(resolve))
    return job
  }, { concurrency: 2 })
  for (let round = 0; round < 8; round++) {
    const raw = await rawAsker(t, address, 100)
    const left = happening(far, 'leave')
    await raw.request('', 'hold')
    await until(() => gates.length === 1)
    if (round % 2 === 0) raw.peer.reset()
    else raw.peer.destroy()
    await left
    gates.pop()()
  }
  const near = open(t, { request: address })
  await ask(near)
  await isSettled(near, WARM)
})

test('redelivered jobs keep their ids and attempts', limit, async t => {
  const { pipe: far, address } = await puller(t)
  const got = []
  ;(async () => {
    for await (const { job: [text], id, attempt } of far.pull({ info: true })) got.push([String(text), id, attempt])
  })()
  const instance = '0123456789abcdef'
  const raw = await dialPush(t, address, offer(instance))
  const expected = []
  for (let number = 1; number <= 400; number++) {
    await raw.when(() => raw.left > 0)
    const isTold = number % 10 === 1
    const id = `${instance}-${isTold ? number * 1000 : expected.at(-1)[1].split('-')[1] * 1 + 1}`
    const attempt = isTold && number % 20 === 1 ? 3 : 1
    if (isTold) raw.send(mark({ id, attempt }))
    if (number % 3 === 0) await setImmediate()
    raw.push(`job ${number}`)
    expected.push([`job ${number}`, id, attempt])
    await raw.when(() => raw.acked.length === number)
  }
  assert.deepEqual(got, expected)
})
