// Flow runs between two ends that both know it (docs/flow.md, "Negotiation"); for anybody else nothing changes.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { puller, pusher } from './helpers/ends.mjs'
import { PROPERTY, ack, credit, dialPull, dialPush, giveBack, mark, nack, newInstance, offer, parse, properties } from './helpers/flow.mjs'
import { happening } from './helpers/happening.mjs'
import { libzmq } from './helpers/libzmq.mjs'
import { open } from './helpers/open.mjs'
import { dial, job, listen } from './helpers/raw-peer.mjs'
import { numbers, take, texts } from './helpers/take.mjs'

const timeout = 10_000
const heartbeat = { interval: 20, timeout: 5000 }
const ends = [['PULL', pusher, 'push', dialPull], ['PUSH', puller, 'pull', dialPush]]

/** What is never said to a peer that doesn't know flow. */
const PLAIN = new Set(['a job', 'READY', 'PING', 'PONG', 'ERROR'])
const inPlain = names => [...new Set(names)].filter(name => !PLAIN.has(name))

const read = answer => properties(parse(answer).data)[PROPERTY.toLowerCase()]

test('READY of both ends carries the version and an instance of 16 hexadecimal digits', { timeout }, async t => {
  for (const [type, makeEnd] of ends) {
    const { address } = await makeEnd(t)
    const peer = await dial(t, address)
    const { name, data } = parse(await peer.handshake(type))
    assert.equal(name, 'READY')
    assert.match(properties(data)[PROPERTY.toLowerCase()], /^1 [0-9a-f]{16}$/)
    assert.ok(data.includes(PROPERTY), 'written as in docs/flow.md')
  }
})

test('an end keeps its instance however often it is dialled, and every end has its own', { timeout }, async t => {
  const seen = new Set()
  for (const [type, makeEnd] of ends) {
    for (let round = 0; round < 3; round++) {
      const { address } = await makeEnd(t)
      const values = []
      for (let i = 0; i < 3; i++) {
        const peer = await dial(t, address)
        values.push(read(await peer.handshake(type)))
        peer.destroy()
      }
      assert.equal(new Set(values).size, 1)
      seen.add(values[0])
    }
  }
  assert.equal(seen.size, 6)
})

test('the two ends of one pipe have an instance each', { timeout }, async t => {
  const pipe = open(t, { push: { bind: 'tcp://127.0.0.1:*' }, pull: { bind: 'tcp://127.0.0.1:*' } })
  await pipe.ready()
  const { push, pull } = pipe.stats()
  const atPush = await (await dial(t, push.bound[0])).handshake('PULL')
  const atPull = await (await dial(t, pull.bound[0])).handshake('PUSH')
  assert.notEqual(read(atPush), read(atPull))
})

test('an end that dials again comes with the same instance', { timeout }, async t => {
  for (const [type, , end] of ends) {
    const first = await listen(t)
    const pipe = open(t, { [end]: { connect: first.address } })
    pipe.ready()
    const before = read(await (await first.next()).handshake(type))
    await first.close()
    const again = read(await (await (await listen(t, first.address)).next()).handshake(type))
    assert.equal(again, before)
  }
})

for (const [type, makeEnd, end, dialIt] of ends) {
  const withFlow = {
    'the property as in docs/flow.md': { [PROPERTY]: '1 0123456789abcdef' },
    'a name in small letters': { 'x-zeropipe': '1 0123456789abcdef' },
    'a name in capitals': { 'X-ZEROPIPE': '1 0123456789abcdef' },
    'digits in capitals': { [PROPERTY]: '1 0123456789ABCDEF' },
    'version 2': { [PROPERTY]: '2 0123456789abcdef' },
    'version 4294967295': { [PROPERTY]: '4294967295 0123456789abcdef' },
    'a version that needs more than 32 bits': { [PROPERTY]: '4294967296 0123456789abcdef' },
    'more words': { [PROPERTY]: '1 0123456789abcdef and more' },
    'more words of a later version': { [PROPERTY]: '3 0123456789abcdef zstd=1' },
    'other properties around it': { Identity: 'it', [PROPERTY]: '1 0123456789abcdef', 'X-Other': 'yes' }
  }
  for (const [what, given] of Object.entries(withFlow)) {
    test(`a ${type} with ${what} has flow, and join and stats tell`, { timeout }, async t => {
      const { pipe, address } = await makeEnd(t)
      const joined = happening(pipe, 'join')
      const peer = await dialIt(t, address, given)
      assert.equal((await joined).flow, true)
      assert.equal(pipe.stats()[end].peers[0].flow, true)
      const left = happening(pipe, 'leave')
      peer.destroy()
      assert.equal((await left).flow, true)
    })
  }

  const plain = {
    'no property': {},
    'version 0': { [PROPERTY]: '0 0123456789abcdef' },
    'an empty value': { [PROPERTY]: '' },
    'a version alone': { [PROPERTY]: '1' },
    'a version and a space': { [PROPERTY]: '1 ' },
    'an instance alone': { [PROPERTY]: '0123456789abcdef' },
    '15 digits': { [PROPERTY]: '1 0123456789abcde' },
    '17 digits': { [PROPERTY]: '1 0123456789abcdef0' },
    'an instance with a sign': { [PROPERTY]: '1 +123456789abcdef' },
    'a letter beyond f': { [PROPERTY]: '1 0123456789abcdeg' },
    'a version in words': { [PROPERTY]: 'one 0123456789abcdef' },
    'a negative version': { [PROPERTY]: '-1 0123456789abcdef' },
    'a version with a plus sign': { [PROPERTY]: '+1 0123456789abcdef' },
    'two spaces': { [PROPERTY]: '1  0123456789abcdef' },
    'a tab': { [PROPERTY]: '1\t0123456789abcdef' },
    'a space in front': { [PROPERTY]: ' 1 0123456789abcdef' },
    'a name that goes on': { [`${PROPERTY}s`]: '1 0123456789abcdef' }
  }
  for (const [what, given] of Object.entries(plain)) {
    test(`a ${type} with ${what} is plain, and join and stats tell`, { timeout }, async t => {
      const { pipe, address } = await makeEnd(t)
      const joined = happening(pipe, 'join')
      const peer = await dialIt(t, address, given)
      assert.equal((await joined).flow, false)
      assert.deepEqual(pipe.stats()[end].peers.map(({ flow, credit, inFlight }) => ({ flow, credit, inFlight })), [{ flow: false, credit: 0, inFlight: 0 }])
      const left = happening(pipe, 'leave')
      peer.destroy()
      assert.equal((await left).flow, false)
    })
  }
}

test('a plain PULL is sent jobs at once and no command but PING and PONG, whatever happens', { timeout }, async t => {
  const { pipe, address } = await pusher(t, { heartbeat })
  for (const given of [{}, { [PROPERTY]: '0 0123456789abcdef' }, { [PROPERTY]: 'nonsense' }]) {
    const peer = await dialPull(t, address, given)
    for (const text of numbers(500)) await pipe.push([text, 'and more'])
    await peer.get(500)
    await pipe.push('an other')
    await peer.when(() => peer.names.filter(name => name === 'PING').length >= 3)
    await peer.ask()
    assert.equal(peer.jobs.length, 501)
    assert.deepEqual(inPlain(peer.names), [])
    const left = happening(pipe, 'leave')
    peer.destroy()
    await left
  }
  assert.equal(pipe.stats().push.done, 3 * 501)
  const last = await dialPull(t, address, {})
  await pipe.push('last')
  await last.get(1)
  await pipe.close()
  await last.closed
  assert.deepEqual(inPlain(last.names), [])
})

test('a plain PULL gets jobs again that flow peers failed on, and no JOB with them', { timeout }, async t => {
  const { pipe, address } = await pusher(t)
  const knows = await dialPull(t, address)
  knows.credit(3)
  for (const text of ['a', 'b', 'c']) await pipe.push(text)
  await knows.get(3)
  const plain = await dialPull(t, address, {})
  knows.send(giveBack(2), nack(3, 'no'))
  knows.destroy()
  await plain.get(3)
  assert.deepEqual(plain.texts.toSorted(), ['a', 'b', 'c'])
  assert.deepEqual(inPlain(plain.names), [])
})

test('a plain PUSH hears no command but PING and PONG, whatever loops and handlers do', { timeout: 20_000 }, async t => {
  const { pipe, address } = await puller(t, { heartbeat, maxAttempts: 2 })
  const peer = await dialPush(t, address, {})
  // A loop that breaks, with jobs left,
  peer.push(...numbers(300))
  assert.equal((await take(pipe, 10)).length, 10)
  // batches,
  for await (const jobs of pipe.pull({ batch: 7 })) {
    assert.ok(jobs.length <= 7)
    break
  }
  // a fixed prefetch,
  assert.equal((await take(pipe, 5, { prefetch: 50 })).length, 5)
  // handlers, of which some reject until jobs are dead,
  const dead = happening(pipe, 'dead', ({ attempt }) => attempt === 2)
  const ending = new AbortController()
  const handling = pipe.pull(([text]) => { if (text.toString() === '299') throw new Error('no') }, { concurrency: 3, signal: ending.signal })
  assert.equal((await dead).job[0].toString(), '299')
  ending.abort(new Error('enough'))
  await assert.rejects(handling, /enough/)
  // a loop that is away for longer than 100 ms: as long as some heartbeats of another peer take,
  const clock = await dialPush(t, address, {})
  const loop = pipe.pull()
  peer.push('in hand', 'unstarted')
  assert.equal((await loop.next()).value[0].toString(), 'in hand')
  await clock.when(() => clock.names.filter(name => name === 'PING').length >= 10)
  await loop.return()
  // and the end.
  await pipe.close()
  await peer.closed
  assert.deepEqual(inPlain(peer.names), [])
  assert.deepEqual(peer.settled, [])
})

test('a plain PULL that speaks flow all the same is not heard', { timeout }, async t => {
  const { pipe, address } = await pusher(t)
  const problems = []
  pipe.on('refused', event => problems.push(event)).on('leave', event => problems.push(event))
  const peer = await dialPull(t, address, {})
  const talk = [credit(0, 0), ack(1), ack([1, 2n ** 64n - 1n]), giveBack(1), nack(1, 'no'), mark({ id: '0123456789abcdef-1', attempt: 2 })]
  peer.send(...talk)
  for (const text of numbers(10)) {
    await pipe.push(text)
    peer.send(...talk)
  }
  await peer.get(10)
  await peer.ask()
  assert.deepEqual(peer.texts, numbers(10))
  await pipe.drain()
  const { done, inFlight, queued } = pipe.stats().push
  assert.deepEqual({ done, inFlight, queued }, { done: 10, inFlight: 0, queued: 0 })
  assert.deepEqual(problems, [])
})

test('a plain PUSH that speaks flow all the same is not heard', { timeout }, async t => {
  const { pipe, address } = await puller(t)
  const problems = []
  pipe.on('refused', event => problems.push(event)).on('leave', event => problems.push(event))
  const peer = await dialPush(t, address, {})
  const talk = [credit(1), ack(1), giveBack(1), nack(1, 'no'), mark({ id: '0123456789abcdef-77', attempt: 5 })]
  peer.send(...talk, job('one'), ...talk, job('two', 'frames'), ...talk)
  const seen = []
  for await (const { job: [text], id, attempt } of pipe.pull({ info: true })) {
    seen.push([text.toString(), attempt])
    assert.ok(!id.startsWith('0123456789abcdef'))
    if (seen.length === 2) break
  }
  assert.deepEqual(seen, [['one', 1], ['two', 1]])
  await peer.ask()
  assert.deepEqual(inPlain(peer.names), [])
  assert.deepEqual(problems, [])
})

test('two ends of ours have flow with each other, and know each other by id', { timeout }, async t => {
  const { pipe, address } = await pusher(t)
  const worker = open(t, { pull: address })
  const joins = [happening(pipe, 'join'), happening(worker, 'join')]
  await worker.ready()
  for (const join of joins) assert.equal((await join).flow, true)
  assert.equal(pipe.stats().push.peers[0].flow, true)
  assert.equal(worker.stats().pull.peers[0].flow, true)
  const other = await dial(t, address)
  const instance = read(await other.handshake('PULL')).split(' ')[1]
  const left = happening(pipe, 'leave')
  other.destroy()
  await left
  await pipe.push('job')
  for await (const { id, attempt } of worker.pull({ info: true })) {
    assert.match(id, new RegExp(`^${instance}-\\d+$`))
    assert.equal(attempt, 1)
    break
  }
})

test('a PULL of zeromq.js takes jobs plainly', { timeout }, async t => {
  const { pipe, address } = await pusher(t)
  const joined = happening(pipe, 'join')
  const { ended } = libzmq(t, `
    const peer = new zmq.Pull()
    peer.connect('${address}')
    const came = []
    while (came.length < 100) came.push(String(await peer.receive()))
    console.log(came.join())
  `)
  assert.equal((await joined).flow, false)
  for (const text of numbers(100)) await pipe.push(text)
  assert.equal((await ended).stdout, `${numbers(100).join()}\n`)
  await pipe.drain()
  assert.equal(pipe.stats().push.done, 100)
})

test('a PUSH of zeromq.js hands over jobs plainly', { timeout }, async t => {
  const { pipe, address } = await puller(t)
  const joined = happening(pipe, 'join')
  libzmq(t, `
    const peer = new zmq.Push()
    peer.connect('${address}')
    for (let i = 0; i < 100; i++) await peer.send(String(i))
  `)
  assert.equal((await joined).flow, false)
  assert.deepEqual(texts(await take(pipe, 100)), numbers(100))
})

test('plain and flow peers of one pusher are served side by side', { timeout }, async t => {
  const { pipe, address } = await pusher(t)
  const plain = await dialPull(t, address, {})
  const knows = await dialPull(t, address, offer(newInstance()))
  knows.credit(1000)
  await knows.ask()
  for (const text of numbers(100)) await pipe.push(text)
  while (plain.jobs.length + knows.jobs.length < 100) {
    await plain.ask(1)
    await knows.ask(1)
  }
  assert.ok(plain.jobs.length > 0 && knows.jobs.length > 0)
  assert.deepEqual([...plain.texts, ...knows.texts].toSorted((a, b) => a - b), numbers(100))
  assert.deepEqual(inPlain(plain.names), [])
  assert.equal(pipe.stats().push.inFlight, knows.jobs.length)
})
