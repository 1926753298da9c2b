// request() resolves with what the handler of some reply() gives back, and rejects with what it throws.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { replier, requester } from './helpers/ends.mjs'
import { gate } from './helpers/gate.mjs'
import { happening } from './helpers/happening.mjs'
import { open } from './helpers/open.mjs'
import { abstractPlace, inprocPlace, ipcPlace } from './helpers/place.mjs'
import { program } from './helpers/program.mjs'
import { numbers, texts } from './helpers/take.mjs'
import { until } from './helpers/until.mjs'
import { worker } from './helpers/worker.mjs'

const limit = { timeout: 30_000 }
const PLACES = { tcp: () => 'tcp://127.0.0.1:*', ipc: ipcPlace, 'ipc with an abstract name': abstractPlace, inproc: inprocPlace }
const echo = job => job

/** A replier that runs `handler`, and a requester. */
async function pair (t, handler, { reply = {}, request = {}, concurrency = 1, place = 'tcp://127.0.0.1:*' } = {}) {
  const { pipe: far, address } = await replier(t, reply, place)
  const handling = far.reply(handler, { concurrency })
  const near = open(t, { ...request, request: address })
  return { near, far, handling, address }
}

const bytes = Uint8Array.from({ length: 256 }, (_, i) => i)
const view = new Uint16Array(bytes.buffer, 10, 20)
const shared = new SharedArrayBuffer(3)
new Uint8Array(shared).set([7, 8, 9])
/** What can be a job, and the frames that arrive. */
const KINDS = [
  ['text', 'text'],
  ['', ''],
  ['h\u00e9 \u20ac \u{1f600}', 'h\u00e9 \u20ac \u{1f600}'],
  [0, '0'],
  [-1.5e300, '-1.5e+300'],
  [NaN, 'NaN'],
  [null, ''],
  [Buffer.from(bytes), bytes],
  [bytes.subarray(5, 9), bytes.subarray(5, 9)],
  [view, new Uint8Array(view.buffer, view.byteOffset, view.byteLength)],
  [new DataView(bytes.buffer, 3, 2), bytes.subarray(3, 5)],
  [bytes.buffer, bytes],
  [shared, [7, 8, 9]],
  [[null], ''],
  [['', '', ''], '', '', ''],
  [['a', null, 'b'], 'a', '', 'b'],
  [[null, 'a', ''], '', 'a', ''],
  [['text', 1, null, Buffer.from([0])], 'text', '1', '', [0]],
  [numbers(1000), ...numbers(1000)],
  [Array(1022).fill(null), ...Array(1022).fill('')],
  ...[254, 255, 256, 4095, 4096, 4097, 8 << 10, (64 << 10) - 200, (64 << 10) - 13, (64 << 10) - 12, (64 << 10) - 1, 64 << 10, (64 << 10) + 1, 100_000, 1 << 20].map(size => {
    const noise = randomBytes(size)
    return [noise, noise]
  }),
  ...[30_000, 100_000].map(size => {
    const frames = Array.from({ length: 4 }, () => randomBytes(size))
    return [frames, ...frames]
  })
].map(([job, ...frames]) => ({ job, frames: frames.map(frame => Buffer.from(frame)) }))

for (const [name, place] of Object.entries(PLACES)) {
  test(`a request of any kind comes as it is, and goes back as it came (${name})`, limit, async t => {
    const { near } = await pair(t, echo, { place: place() })
    for (const { job, frames } of KINDS) assert.deepEqual(await near.request(job), frames)
    const all = await Promise.all(KINDS.map(({ job }) => near.request(job)))
    assert.deepEqual(all, KINDS.map(({ frames }) => frames))
  })

  test(`a reply of any kind arrives as it is (${name})`, limit, async t => {
    const { near } = await pair(t, async ([index]) => KINDS[index].job, { place: place(), concurrency: 3 })
    const all = await Promise.all([...KINDS.keys(), ...KINDS.keys()].map(index => near.request(index)))
    assert.deepEqual(all, [...KINDS, ...KINDS].map(({ frames }) => frames))
  })
}

test('bodies of many MiB go both ways at the same time', limit, async t => {
  const { near } = await pair(t, echo, { concurrency: 2 })
  const jobs = [5, 12, 1, 8].map(size => [randomBytes(size << 20), randomBytes(3)])
  const replies = await Promise.all(jobs.map(job => near.request(job)))
  replies.forEach((reply, index) => assert.ok(reply.every((frame, at) => frame.equals(jobs[index][at])), `request ${index}`))
})

for (const concurrency of [1, 7, 1000]) {
  test(`of a thousand requests in flight each gets its own reply, whatever the order (concurrency ${concurrency})`, limit, async t => {
    const { near } = await pair(t, async ([number, body]) => {
      for (let turns = Number(number) * 7919 % 5; turns > 0; turns--) await setImmediate()
      return [`answer ${number}`, body]
    }, { concurrency })
    const bodies = numbers(1000).map(number => randomBytes(Number(number) % 300))
    const replies = await Promise.all(bodies.map((body, number) => near.request([number, body])))
    // Only now, when all have come: nothing of one may have been written over by another.
    replies.forEach((reply, number) => assert.deepEqual(reply, [Buffer.from(`answer ${number}`), bodies[number]]))
    assert.deepEqual([near.stats().request.done, near.stats().request.queued], [1000, 0])
    await until(() => near.stats().request.inFlight === 0) // the word that the last is done comes behind its reply
  })
}

test('replies may come in another order than requests', limit, async t => {
  const gates = numbers(10).map(gate)
  const { near } = await pair(t, async ([number]) => await gates[number].passed, { concurrency: 10 })
  const order = []
  const asked = numbers(10).map(number => near.request(number).then(([reply]) => order.push(String(reply))))
  for (const number of numbers(10).reverse()) {
    gates[number].open(`reply ${number}`)
    await asked[number]
  }
  assert.deepEqual(order, numbers(10).reverse().map(number => `reply ${number}`))
})

for (const concurrency of [undefined, 1, 4, 100]) {
  test(`with concurrency ${concurrency ?? 'not given'} that many handlers run, and never more`, limit, async t => {
    const seen = { running: 0, most: 0 }
    const { pipe: far, address } = await replier(t)
    const handler = async job => {
      seen.most = Math.max(seen.most, ++seen.running)
      for (let i = 0; i < 3; i++) await setImmediate()
      seen.running--
      return job
    }
    const handling = far.reply(handler, concurrency === undefined ? undefined : { concurrency })
    const near = open(t, { request: address })
    assert.deepEqual(texts(await Promise.all(numbers(400).map(number => near.request(number)))), numbers(400))
    assert.equal(seen.most, concurrency ?? 1)
    await far.close()
    assert.equal(await handling, undefined)
  })
}

test('handlers that are not async answer as well, thousands of them', limit, async t => {
  const { near } = await pair(t, ([number]) => Number(number) + 1, { concurrency: 10 })
  const replies = await Promise.all(numbers(5000).map(number => near.request(number)))
  assert.deepEqual(texts(replies), numbers(5001).slice(1))
})

test('one after the other they are answered too', limit, async t => {
  const { near } = await pair(t, ([number]) => Number(number) + 1)
  let number = 0
  while (number < 500) number = Number((await near.request(number))[0])
  assert.equal(number, 500)
})

test('a thenable is waited for like a promise', limit, async t => {
  const { near } = await pair(t, () => ({ then: resolve => resolve('then') }))
  assert.deepEqual(texts([await near.request('')]), ['then'])
})

test('several repliers share the requests: none is given a second while another is free', limit, async t => {
  const { pipe: near, address } = await requester(t)
  const gates = numbers(4).map(gate)
  const begun = numbers(4).map(() => [])
  numbers(4).forEach(index => {
    open(t, { reply: { connect: address } }).reply(async ([number]) => {
      begun[index].push(String(number))
      await gates[index].passed
      return index
    })
  })
  await near.ready({ repliers: 4 })
  const asked = numbers(4).map(number => near.request(number))
  await until(() => begun.flat().length === 4)
  assert.deepEqual(begun.map(({ length }) => length), [1, 1, 1, 1])
  gates.forEach(({ open }) => open())
  assert.deepEqual(texts(await Promise.all(asked)).sort(), numbers(4))
})

test('several calls of reply on one pipe share them too', limit, async t => {
  const { pipe: far, address } = await replier(t)
  const gates = numbers(3).map(gate)
  const begun = []
  for (const index of numbers(3)) {
    far.reply(async () => {
      begun.push(index)
      await gates[index].passed
      return index
    })
  }
  const near = open(t, { request: address })
  const asked = numbers(3).map(number => near.request(number))
  await until(() => begun.length === 3)
  gates.forEach(({ open }) => open())
  assert.deepEqual(texts(await Promise.all(asked)).sort(), numbers(3))
})

test('several processes share them', limit, async t => {
  const { pipe: near, address } = await requester(t)
  const text = `await reply(async ([number]) => { begin({ job: [number] }); await order('go'); return process.pid })`
  const crew = [worker(t, address, text, {}, 'reply'), worker(t, address, text, {}, 'reply')]
  await near.ready({ repliers: 2 })
  const asked = numbers(2).map(number => near.request(number))
  await until(() => crew.every(({ begun }) => begun.length === 1))
  crew.forEach(({ tell }) => tell('go'))
  const pids = (await Promise.all(asked)).map(([pid]) => Number(pid))
  assert.deepEqual(pids.sort((a, b) => a - b), crew.map(({ child }) => child.pid).sort((a, b) => a - b))
})

test('several requesters, each with as many in flight, get their own replies', limit, async t => {
  const { pipe: far, address } = await replier(t)
  far.reply(async ([who, number]) => [`${who} ${number}`], { concurrency: 20 })
  const crowd = numbers(5).map(() => open(t, { request: address }))
  const all = await Promise.all(crowd.map(async (near, who) => texts(await Promise.all(numbers(200).map(number => near.request([who, number]))))))
  assert.deepEqual(all, crowd.map((_, who) => numbers(200).map(number => `${who} ${number}`)))
})

for (const [what, value] of [
  ['undefined', undefined],
  ['an object', { answer: 42 }],
  ['a boolean', true],
  ['a function', () => {}],
  ['a symbol', Symbol('no')],
  ['an empty array', []],
  ['an array within an array', [['nested']]],
  ['undefined in an array', ['a', undefined]],
  ['a bigint', 1n]
]) {
  test(`${what} is no reply: the request rejects with ERR_ZEROPIPE_INVALID_JOB, and others are answered`, limit, async t => {
    const { near } = await pair(t, ([which]) => String(which) === 'wrong' ? value : which)
    await assert.rejects(near.request('wrong'), error => {
      assert.ok(error instanceof Error)
      assert.equal(error.code, 'ERR_ZEROPIPE_INVALID_JOB')
      return true
    })
    assert.deepEqual(texts([await near.request('right')]), ['right'])
    const both = await Promise.allSettled([near.request('wrong'), near.request('right')])
    assert.deepEqual(both.map(({ status }) => status), ['rejected', 'fulfilled'])
  })

  test(`${what} is no request: it rejects with ERR_ZEROPIPE_INVALID_JOB, and the handler does not hear of it`, limit, async t => {
    const seen = []
    const { near } = await pair(t, ([which]) => { seen.push(String(which)); return which })
    await assert.rejects(near.request(value), { code: 'ERR_ZEROPIPE_INVALID_JOB' })
    assert.deepEqual(texts([await near.request('right')]), ['right'])
    assert.deepEqual(seen, ['right'])
  })
}

test('a job may be as large as maxMessageSize leaves beside the envelope, both ways, and not a byte larger', limit, async t => {
  const maxMessageSize = 1000
  const most = maxMessageSize - 140
  const { near } = await pair(t, ([size]) => Buffer.alloc(size.length > 10 ? size.length : Number(size), 'x'), { reply: { maxMessageSize }, request: { maxMessageSize } })
  const tooLarge = { code: 'ERR_ZEROPIPE_MESSAGE_TOO_LARGE' }
  assert.equal((await near.request(Buffer.alloc(most)))[0].length, most)
  await assert.rejects(near.request(Buffer.alloc(most + 1)), tooLarge)
  assert.equal((await near.request(most))[0].length, most)
  await assert.rejects(near.request(most + 1), tooLarge)
  assert.equal((await near.request(most))[0].length, most)
})

test('a reply over the default maxMessageSize or of too many frames rejects the request', limit, async t => {
  const { near } = await pair(t, ([which]) => String(which) === 'bytes' ? Buffer.alloc((64 << 20) + 1) : Array(Number(which)).fill('x'))
  const tooLarge = { code: 'ERR_ZEROPIPE_MESSAGE_TOO_LARGE' }
  await assert.rejects(near.request('bytes'), tooLarge)
  await assert.rejects(near.request(1023), tooLarge)
  await assert.rejects(near.request(Array(1023).fill('')), tooLarge)
  assert.equal((await near.request(1022)).length, 1022)
})

test('a reply over the maxMessageSize of who has asked rejects that request at once, and its link stays', limit, async t => {
  const { near, far } = await pair(t, ([size]) => Buffer.alloc(Number(size)), { request: { maxMessageSize: 1000, maxAttempts: 2 } })
  const refused = happening(near, 'refused', ({ code }) => code === 'ERR_ZEROPIPE_MESSAGE_TOO_LARGE')
  const left = []
  near.on('leave', event => left.push(event))
  await assert.rejects(near.request(5000), { code: 'ERR_ZEROPIPE_MESSAGE_TOO_LARGE' })
  assert.equal((await refused).end, 'request')
  assert.equal((await near.request(500))[0].length, 500)
  assert.equal(far.stats().reply.peers.length, 1)
  assert.deepEqual(left, [])
})

const weird = Object.defineProperty(new Error(), 'message', { get: () => { throw new Error('no message') } })
const coded = (error, code) => Object.assign(error, { code })
const FAILED = 'ERR_ZEROPIPE_JOB_FAILED'
for (const [what, thrown, code, message] of [
  ['an error with a code', coded(new Error('not today'), 'E_NOT_TODAY'), 'E_NOT_TODAY', 'not today'],
  ['an error without a code', new TypeError('wrong type'), FAILED, 'wrong type'],
  ['an error without a message', new Error(), FAILED, ''],
  ['an error whose code is a number', coded(new Error('number'), 17), FAILED, 'number'],
  ['an error whose code is empty', coded(new Error('empty'), ''), FAILED, 'empty'],
  ['an error with a code that is no ASCII', coded(new Error('\u00fc \u{1f600}'), 'E_\u00dc'), 'E_\u00dc', '\u00fc \u{1f600}'],
  ['an error of several lines', new Error('one\ntwo\0three'), FAILED, 'one\ntwo\0three'],
  ['an error of the system', coded(new Error('ENOENT: no such file'), 'ENOENT'), 'ENOENT', 'ENOENT: no such file'],
  ['an error of ours', coded(new Error('mine'), 'ERR_ZEROPIPE_TIMEOUT'), 'ERR_ZEROPIPE_TIMEOUT', 'mine'],
  ['text', 'just text', FAILED, 'just text'],
  ['a number', 42, FAILED, '42'],
  ['undefined', undefined, FAILED, 'undefined'],
  ['null', null, FAILED, 'null'],
  ['a symbol', Symbol('odd'), FAILED, 'Symbol(odd)'],
  ['an object', { code: 'E_OBJECT', why: 'odd' }, 'E_OBJECT', "{ code: 'E_OBJECT', why: 'odd' }"],
  ['an object that has no text', Object.create(null), FAILED, undefined],
  ['an error whose message throws', weird, FAILED, undefined],
  ['an error whose code throws', Object.defineProperty(new Error('yes'), 'code', { get () { throw new Error() } }), FAILED, undefined],
  ['an error whose message is no string', Object.assign(new Error(), { message: 5 }), FAILED, '5'],
  ['a proxy that throws at every touch', new Proxy({}, Object.fromEntries(Object.getOwnPropertyNames(Reflect).map(name => [name, () => { throw new Error(name) }]))), FAILED, undefined],
  ['an error with half a surrogate pair', new Error('half \ud83d'), FAILED, 'half \ufffd']
]) {
  for (const [how, handler] of [['throws', () => { throw thrown }], ['rejects with', async () => { await null; throw thrown }]]) {
    test(`a handler that ${how} ${what} rejects the request, and is called once`, limit, async t => {
      let calls = 0
      const { near } = await pair(t, ([which]) => {
        if (String(which) !== 'fail') return which
        calls++
        return handler()
      })
      await assert.rejects(near.request('fail'), error => {
        assert.ok(error instanceof Error)
        assert.equal(error.code, code)
        if (message !== undefined) assert.equal(error.message, message)
        return true
      })
      assert.deepEqual(texts([await near.request('next')]), ['next'])
      assert.equal(calls, 1)
      const { queued, redelivered, dead } = near.stats().request
      assert.deepEqual({ queued, redelivered, dead }, { queued: 0, redelivered: 0, dead: 0 })
    })
  }
}

for (const [what, long] of [['letters', 'x'.repeat(100_000)], ['letters of several bytes', '\u20ac'.repeat(50_000)]]) {
  test(`a message and a code of very many ${what} are cut, and still told`, limit, async t => {
    const { near } = await pair(t, () => { throw coded(new Error(long), `E_${long}`) })
    await assert.rejects(near.request('fail'), error => {
      assert.ok(error.message.length > 100 && long.startsWith(error.message), error.message)
      assert.ok(error.code.startsWith('E_') && error.code.length < 300, error.code)
      return true
    })
  })
}

test('many that fail and many that do not, side by side', limit, async t => {
  const { near } = await pair(t, async ([number]) => {
    if (Number(number) % 3 === 0) throw coded(new Error(`no ${number}`), `E_${number}`)
    return number
  }, { concurrency: 10 })
  const all = await Promise.allSettled(numbers(1000).map(number => near.request(number)))
  all.forEach(({ value, reason }, number) => {
    if (number % 3 === 0) assert.deepEqual([reason.code, reason.message], [`E_${number}`, `no ${number}`])
    else assert.equal(String(value), String(number))
  })
})

test('a handler is told the id, the attempt and who asks', limit, async t => {
  for (const place of [inprocPlace(), 'tcp://127.0.0.1:*']) {
    const infos = []
    const { near, address } = await pair(t, (job, info) => { infos.push(info); return null }, { place, request: { identity: 'asker' } })
    await Promise.all(numbers(20).map(number => near.request(number)))
    assert.equal(new Set(infos.map(({ id }) => id)).size, 20)
    for (const { id, attempt, from } of infos) {
      assert.match(id, /^[0-9a-f]{16}-[0-9]+$/)
      assert.equal(attempt, 1)
      assert.equal(from.identity, 'asker')
      assert.ok(from.address.startsWith(address.slice(0, 6)), from.address)
    }
  }
})

for (const [name, place] of Object.entries(PLACES)) {
  test(`turned round, request binds and reply connects (${name})`, limit, async t => {
    const { pipe: near, address } = await requester(t, {}, place())
    open(t, { reply: { connect: address } }).reply(echo)
    assert.deepEqual(texts([await near.request('turned')]), ['turned'])
  })

  test(`one pipe of one address has both ends (${name})`, limit, async t => {
    const own = open(t, place())
    own.reply(echo)
    assert.deepEqual(texts([await own.request('both')]), ['both'])
    const { request, reply } = own.stats()
    assert.deepEqual([request.bound.length, reply.bound.length, request.done], [0, 1, 1])
  })
}

test('an end binds and connects to many addresses at once', limit, async t => {
  const far = open(t, { reply: { bind: ['tcp://127.0.0.1:*', ipcPlace(), inprocPlace()] } })
  far.reply(async () => 'the one that binds')
  await far.ready()
  const { pipe: near, address } = await requester(t)
  open(t, { reply: { connect: [address] } }).reply(async () => 'the one that connects')
  for (const bound of far.stats().reply.bound) assert.deepEqual(texts([await open(t, { request: bound }).request('')]), ['the one that binds'])
  assert.deepEqual(texts([await near.request('')]), ['the one that connects'])

  const many = open(t, { request: { connect: far.stats().reply.bound, bind: 'tcp://127.0.0.1:*' } })
  await many.ready({ repliers: 3 })
  assert.deepEqual(texts([await many.request('')]), ['the one that binds'])
})

test('request before any replier is there waits for one', limit, async t => {
  const place = ipcPlace()
  const near = open(t, { request: place })
  const asked = numbers(10).map(number => near.request(number))
  await near.ready()
  assert.equal(near.stats().request.queued, 10)
  open(t, { reply: place }).reply(echo)
  assert.deepEqual(texts(await Promise.all(asked)), numbers(10))
})

test('repliers come and go, and every request is answered', limit, async t => {
  const place = ipcPlace()
  const near = open(t, { request: place })
  for (let round = 0; round < 5; round++) {
    const far = open(t, { reply: place })
    far.reply(async ([number]) => `${round} ${number}`)
    assert.deepEqual(texts(await Promise.all(numbers(20).map(number => near.request(number)))), numbers(20).map(number => `${round} ${number}`))
    await far.close()
  }
  const last = near.request('last')
  open(t, { reply: place }).reply(echo)
  assert.deepEqual(texts([await last]), ['last'])
})

test('a handler may ask others, on a pipe of its own and on the same one', limit, async t => {
  const { near: adds } = await pair(t, ([a, b]) => Number(a) + Number(b), { concurrency: 5 })
  const { near } = await pair(t, async ([n]) => Number(n) === 0 ? 0 : await adds.request([n, (await own.request(n))[0]]), { concurrency: 5 })
  const own = open(t, inprocPlace())
  own.reply(async ([n]) => Number(n) * 2, { concurrency: 2 })
  assert.deepEqual(texts(await Promise.all(numbers(100).map(n => near.request(n)))), numbers(100).map(n => String(3 * n)))
})

test('as many handlers as there are asking their own pipe go through', limit, async t => {
  const place = inprocPlace()
  const own = open(t, { request: place, reply: place })
  own.reply(async ([n]) => Number(n) === 0 ? 'bottom' : await own.request(Number(n) - 1), { concurrency: 10 })
  assert.deepEqual(texts([await own.request(9)]), ['bottom'])
})

for (const highWaterMark of [{ messages: 1 }, { messages: 3 }, { bytes: 1 }]) {
  test(`with a high-water mark of ${JSON.stringify(highWaterMark)} all are answered in the order of the calls`, limit, async t => {
    const seen = []
    const { near } = await pair(t, ([number]) => { seen.push(String(number)); return number }, { request: { highWaterMark }, reply: { highWaterMark } })
    assert.deepEqual(texts(await Promise.all(numbers(300).map(number => near.request(number)))), numbers(300))
    assert.deepEqual(seen, numbers(300))
  })
}

test('jobs and requests of one pipe do not mix', limit, async t => {
  const far = open(t, { pull: { bind: inprocPlace() }, reply: { bind: inprocPlace() } })
  await far.ready()
  const jobs = []
  far.pull(job => { jobs.push(job) })
  far.reply(echo)
  const near = open(t, { push: { connect: far.stats().pull.bound[0] }, request: far.stats().reply.bound[0] })
  for (const number of numbers(100)) {
    await near.push(number)
    assert.deepEqual(texts([await near.request(`r${number}`)]), [`r${number}`])
  }
  await near.drain()
  assert.deepEqual(texts(jobs), numbers(100))
  const { push, request } = near.stats()
  assert.deepEqual([push.done, request.done], [100, 100])
})

test('push and request at the wrong end are refused, and say so', limit, async t => {
  const jobs = open(t, { pull: { bind: 'tcp://127.0.0.1:*' } })
  await jobs.ready()
  const near = open(t, { request: jobs.stats().pull.bound[0] })
  const refused = happening(near, 'refused')
  near.request('lost').catch(() => {})
  const { end, code } = await refused
  assert.deepEqual([end, code], ['request', 'ERR_ZEROPIPE_INCOMPATIBLE_PEER'])
})

test('who comes is told, at which end', limit, async t => {
  const { pipe: far, address } = await replier(t, { identity: 'far' })
  const near = open(t, { request: address, identity: 'near' })
  const [atNear, atFar] = [happening(near, 'join'), happening(far, 'join')]
  await near.ready({ repliers: 1 })
  await far.ready({ requesters: 1 })
  assert.deepEqual([(await atNear).end, (await atNear).identity, (await atNear).flow], ['request', 'far', true])
  assert.deepEqual([(await atFar).end, (await atFar).identity, (await atFar).flow], ['reply', 'near', true])
})

test('wrong calls reject with their code', limit, async t => {
  const own = open(t, inprocPlace())
  const invalid = { code: 'ERR_ZEROPIPE_INVALID_OPTION' }
  for (const options of [{ timeout: -1 }, { timeout: 'soon' }, { timeout: NaN }, { timeout: 2 ** 31 }, { signal: {} }, { linger: 1 }, null, [], 5]) {
    await assert.rejects(own.request('x', options), invalid)
  }
  for (const handler of [undefined, null, {}, 'text', { concurrency: 1 }]) await assert.rejects(own.reply(handler), invalid)
  for (const options of [{ concurrency: 0 }, { concurrency: 1.5 }, { batch: 2 }, { info: true }, { timeout: 1 }, { signal: {} }, null]) {
    await assert.rejects(own.reply(echo, options), invalid)
  }
  await assert.rejects(open(t, { push: inprocPlace() }).request('x'), invalid)
  await assert.rejects(open(t, { pull: inprocPlace() }).reply(echo), invalid)
  await assert.rejects(open(t, { reply: inprocPlace() }).request('x'), invalid)
})

test('an end that can not be bound rejects with the code of the system, and can be tried again', limit, async t => {
  const { pipe: first, address } = await replier(t)
  const second = open(t, { reply: address })
  await assert.rejects(second.reply(echo), { code: 'EADDRINUSE' })
  const near = open(t, { request: { bind: address } })
  await assert.rejects(near.request('x'), { code: 'EADDRINUSE' })
  await Promise.all(numbers(3).map(number => assert.rejects(near.request(number), { code: 'EADDRINUSE' })))
  await first.close()
  const asked = near.request('again')
  open(t, { reply: { connect: address } }).reply(echo)
  assert.deepEqual(texts([await asked]), ['again'])
})

/** What a program prints that has ended well. */
async function output (t, text, env) {
  const { code, signal, stdout, stderr } = await program(t, text, { env }).ended
  assert.deepEqual({ code, signal, stderr }, { code: 0, signal: null, stderr: '' })
  return stdout.trimEnd().split('\n')
}

for (const names of [['ZEROPIPE_ENDPOINT'], ['ZEROPIPE_REQUEST_ENDPOINT'], ['ZEROPIPE_REQUEST_ENDPOINT', 'ZEROPIPE_ENDPOINT']]) {
  test(`request and reply are named exports, and processes meet at ${names[0]}${names.length > 1 ? ', whatever the other says' : ''}`, limit, async t => {
    const env = { [names[0]]: ipcPlace(), ...(names.length > 1 ? { [names[1]]: ipcPlace() } : {}) }
    const answering = output(t, `
      import zeropipe, { reply, close } from 'zeropipe'
      console.log(zeropipe.reply === reply)
      await reply(([number]) => {
        if (String(number) === '9') setImmediate(close)
        return Number(number) ** 2
      })
      console.log('end')
    `, env)
    const asking = output(t, `
      import zeropipe, { request, stats } from 'zeropipe'
      console.log(zeropipe.request === request)
      for (let i = 0; i < 10; i++) console.log(String(await request(i)))
      console.log(stats().request.done)
    `, env)
    assert.deepEqual(await asking, ['true', ...numbers(10).map(i => String(i * i)), '10'])
    assert.deepEqual(await answering, ['true', 'end'])
  })
}

test('worker threads share the default pipe, and each gets its own replies', limit, async t => {
  const said = await output(t, `
    import { Worker, isMainThread, parentPort, threadId } from 'node:worker_threads'
    import { request, reply, close, stats } from 'zeropipe'
    const all = async who => {
      const numbers = Array.from({ length: 500 }, (_, i) => i)
      const replies = await Promise.all(numbers.map(number => request([who, number])))
      return replies.every(([text], number) => String(text) === who + ' ' + number)
    }
    if (isMainThread) {
      reply(async ([who, number]) => who + ' ' + number, { concurrency: 20 })
      const threads = [1, 2, 3].map(() => new Worker(new URL(import.meta.url)))
      const told = threads.map(thread => new Promise(resolve => thread.once('message', resolve)))
      console.log(await all('main'), ...await Promise.all(told))
      console.log(stats().request.done)
      await close()
    } else {
      parentPort.postMessage(await all('thread ' + threadId))
    }
  `, { ZEROPIPE_ENDPOINT: ipcPlace() })
  assert.deepEqual(said, ['true true true true', '2000'])
})

test('worker threads that reply through the default pipe share the requests', limit, async t => {
  const said = await output(t, `
    import { Worker, isMainThread, parentPort } from 'node:worker_threads'
    import { request, reply, close, ready } from 'zeropipe'
    if (isMainThread) {
      const threads = [1, 2].map(() => new Worker(new URL(import.meta.url)))
      const asked = [0, 1].map(number => request(number))
      // Both are begun with before either is answered.
      await Promise.all(threads.map(thread => new Promise(resolve => thread.once('message', resolve))))
      threads.forEach(thread => thread.postMessage('go'))
      console.log((await Promise.all(asked)).join())
      await close()
    } else {
      const go = new Promise(resolve => parentPort.once('message', resolve))
      await reply(async ([number]) => { parentPort.postMessage('begun'); await go; return number })
      parentPort.unref()
    }
  `, { ZEROPIPE_ENDPOINT: ipcPlace() })
  assert.deepEqual(said, ['0,1'])
})
