// Values that users hand over as jobs, of whatever realm and in whatever state their memory is:
// their bytes arrive, or they are refused by a code of ours. Nothing throws, and nothing else is
// harmed by them.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runInNewContext } from 'node:vm'
import { requester } from './helpers/ends.mjs'
import { open } from './helpers/open.mjs'
import { inprocPlace } from './helpers/place.mjs'
import { standing } from './helpers/settle.mjs'
import { take, texts } from './helpers/take.mjs'

const limit = { timeout: 30_000 }
const invalid = { code: 'ERR_ZEROPIPE_INVALID_JOB' }
const needsResizable = ArrayBuffer.prototype.resize === undefined && 'this runtime has no buffers that can be resized'

/** Bytes that say otherwise of themselves. */
class Liar extends Uint8Array {
  get length () { return 100_000 }
  get byteLength () { return -7 }
  get byteOffset () { return 3 }
  get buffer () { return new ArrayBuffer(1) }
}

class Own extends Buffer {}
const foreign = text => runInNewContext(text)
/** A view from there on of memory that can be made smaller. */
const resizable = (View, at, size) => {
  const buffer = new ArrayBuffer(64, { maxByteLength: 64 })
  const view = size === undefined ? new View(buffer, at) : new View(buffer, at, size)
  return { view, buffer }
}
const detach = buffer => { structuredClone(buffer, { transfer: [buffer] }) }
function detached (make, size = 8) {
  const buffer = new ArrayBuffer(size)
  const value = make(buffer)
  detach(buffer)
  return value
}

const good = {
  'a Uint8Array of another realm': () => foreign('new Uint8Array([97, 98])'),
  'a Uint16Array of another realm': () => foreign('new Uint16Array([0x6261])'),
  'a DataView of another realm': () => foreign('new DataView(new Uint8Array([0, 97, 98, 0]).buffer, 1, 2)'),
  'an ArrayBuffer of another realm': () => foreign('new Uint8Array([97, 98]).buffer'),
  'a SharedArrayBuffer of another realm': () => foreign('const b = new SharedArrayBuffer(2); new Uint8Array(b).set([97, 98]); b'),
  'a subclass of Buffer': () => Object.setPrototypeOf(Buffer.from('ab'), Own.prototype),
  'bytes that lie about their length': () => new Liar([97, 98]),
  'a Buffer with a length of its own': () => Object.defineProperty(Buffer.from('ab'), 'length', { value: 1 }),
  'a Buffer of a SharedArrayBuffer': () => Buffer.from(new SharedArrayBuffer(2)).fill('ab')
}

for (const [name, make] of Object.entries(good)) {
  test(`${name} arrives as the bytes that it has`, limit, async t => {
    const pipe = open(t, inprocPlace())
    const early = [pipe.push(make()), pipe.push([make()]), pipe.push(['x', make()])]
    await Promise.all(early)
    await pipe.push(make())
    await pipe.push('behind')
    await pipe.push([make(), make()])

    const received = (await take(pipe, 6)).map(job => job.map(String))

    assert.deepEqual(received, [['ab'], ['ab'], ['x', 'ab'], ['ab'], ['behind'], ['ab', 'ab']])
  })
}

test('an array of another realm is a job of its frames, and one of its objects is none', limit, async t => {
  const pipe = open(t, inprocPlace())
  await pipe.push(foreign("['a', 1, null, new Uint8Array([98])]"))
  await assert.rejects(pipe.push(foreign('({ a: 1 })')), invalid)
  await assert.rejects(pipe.push(foreign('[[1]]')), invalid)
  await assert.rejects(pipe.push(foreign('new Date()')), invalid)
  await assert.rejects(pipe.push(foreign('[]')), invalid)
  assert.deepEqual((await take(pipe, 1))[0].map(String), ['a', '1', '', 'b'])
})

test('a proxy of an array is read like the array', limit, async t => {
  const pipe = open(t, inprocPlace())
  await pipe.push(new Proxy(['a', 'b'], {}))
  assert.deepEqual((await take(pipe, 1))[0].map(String), ['a', 'b'])
})

const { proxy: revoked, revoke } = Proxy.revocable([], {})
revoke()
const failing = new Proxy([], { get () { throw new Error('the trap says no') } })
const noBytes = {
  'a detached Uint8Array': [() => detached(buffer => new Uint8Array(buffer)), 'Uint8Array'],
  'a detached Buffer': [() => detached(buffer => Buffer.from(buffer)), 'memory'],
  'a detached Float64Array': [() => detached(buffer => new Float64Array(buffer)), 'Float64Array'],
  'a detached DataView': [() => detached(buffer => new DataView(buffer)), 'DataView'],
  'a detached ArrayBuffer': [() => detached(buffer => buffer), 'ArrayBuffer'],
  'a detached view that was empty': [() => detached(buffer => new Uint8Array(buffer), 0), 'Uint8Array'],
  'a proxy of bytes': [() => new Proxy(new Uint8Array(4), {}), 'Proxy'],
  'what only inherits from bytes': [() => Object.create(Uint8Array.prototype), 'job'],
  'what only inherits from Buffer': [() => Object.create(Buffer.prototype), 'job'],
  'a revoked proxy': [() => revoked, 'job'],
  'an array whose getter throws': [() => Object.defineProperty(['a'], 0, { get () { throw new Error('the getter says no') } }), 'job'],
  'an array whose traps throw': [() => failing, 'job'],
  'an object whose prototype can not be asked': [() => new Proxy({}, { getPrototypeOf () { throw new Error('no') } }), 'Proxy'],
  'a Promise of a job': [() => Promise.resolve('job'), 'await']
}

for (const [name, [make, mentions]] of Object.entries(noBytes)) {
  test(`${name} is refused, alone or as a frame, and harms no other job`, limit, async t => {
    const pipe = open(t, inprocPlace())
    const refuses = async job => {
      let pushed
      assert.doesNotThrow(() => { pushed = pipe.push(job) })
      await assert.rejects(pushed, error => {
        assert.equal(error.code, invalid.code)
        assert.ok(!error.message.includes('[object'), error.message)
        assert.ok(error.message.includes(mentions), error.message)
        return true
      })
    }
    for (let round = 0; round < 2; round++) {
      await refuses(make())
      await assert.rejects(pipe.push(['a', make(), 'b']), invalid)
      await pipe.push(`good ${round}`)
    }
    assert.deepEqual(texts(await take(pipe, 2)), ['good 0', 'good 1'])
  })
}

test('what a getter or a trap throws is said, and is the cause', limit, async t => {
  const pipe = open(t, inprocPlace())
  const reason = new Error('the getter says no')
  const job = Object.defineProperty(['a'], 0, { get () { throw reason } })
  await assert.rejects(pipe.push(job), error => error.code === invalid.code && error.message.includes('the getter says no') && error.cause === reason)
})

for (const size of [100, 5_000, 100_000]) {
  test(`a job of ${size} bytes whose memory goes while it waits is refused, or its bytes had been taken; those behind it arrive`, limit, async t => {
    const place = inprocPlace()
    const pipe = open(t, { push: place, highWaterMark: { messages: 1 } })
    await pipe.push('first')
    const buffer = new ArrayBuffer(size)
    new Uint8Array(buffer).fill(97)
    const waiting = [pipe.push(new Uint8Array(buffer)), pipe.push(['x', new Uint8Array(buffer, 0, size - 1)]), pipe.push('last')]
    const outcomes = Promise.allSettled(waiting)
    assert.deepEqual(await standing(...waiting), ['pending', 'pending', 'pending'])
    detach(buffer)

    const isTaken = size <= 4096
    const received = await take(open(t, { pull: place }), isTaken ? 4 : 2)

    assert.deepEqual((await outcomes).map(({ reason }) => reason?.code), isTaken ? [undefined, undefined, undefined] : [invalid.code, invalid.code, undefined])
    assert.equal(String(received.at(-1)), 'last')
    if (isTaken) assert.deepEqual([String(received[1]), String(received[2][1])], ['a'.repeat(size), 'a'.repeat(size - 1)])
  })
}

test('views that follow the length of their memory have the bytes of the moment', { ...limit, skip: needsResizable }, async t => {
  const pipe = open(t, inprocPlace())
  await pipe.ready()
  const { view, buffer } = resizable(Uint8Array, 4)
  view.fill(97)
  buffer.resize(8)
  await pipe.push(view)
  await pipe.push([view, new DataView(buffer)])
  buffer.resize(4)
  await pipe.push(view)
  await pipe.push('behind')
  const received = await take(pipe, 4)
  assert.deepEqual(received.map(job => job.map(({ length }) => length)), [[4], [4, 8], [0], [6]])
})

test('views that are out of the bounds of their memory are refused', { ...limit, skip: needsResizable }, async t => {
  const pipe = open(t, inprocPlace())
  for (let round = 0; round < 2; round++) {
    for (const [View, at, size] of [[Uint8Array, 0, 32], [Uint8Array, 32, undefined], [Float64Array, 0, 4], [DataView, 0, 32], [DataView, 32, undefined]]) {
      const { view, buffer } = resizable(View, at, size)
      buffer.resize(8)
      await assert.rejects(pipe.push(view), invalid)
      await assert.rejects(pipe.push(['a', view]), invalid)
    }
    await pipe.push(`good ${round}`)
  }
  assert.deepEqual(texts(await take(pipe, 2)), ['good 0', 'good 1'])
})

test('requests and replies take the same values, and refuse the same', limit, async t => {
  const { pipe, address } = await requester(t)
  const replier = open(t, { reply: { connect: address } })
  const replies = { ...good, ...Object.fromEntries(Object.entries(noBytes).map(([name, [make]]) => [name, make])) }
  replier.reply(([name, body]) => {
    assert.equal(String(body), 'ab')
    return replies[name]()
  }).catch(() => {})
  for (const [name, make] of Object.entries(good)) assert.equal(String((await pipe.request([name, make()]))[0]), 'ab', name)
  for (const [name, [make]] of Object.entries(noBytes)) {
    let request
    assert.doesNotThrow(() => { request = pipe.request(make()) })
    await assert.rejects(request, invalid, name)
    // Of a handler's value it is asked first whether it is a promise.
    if (!['a Promise of a job', 'a revoked proxy', 'an array whose traps throw'].includes(name)) await assert.rejects(pipe.request([name, 'ab']), invalid, name)
  }
})

/** A signal as other realms have them: jsdom's, for one, is no instance of ours. */
class ForeignSignal extends EventTarget {
  aborted = false
  reason = undefined

  get [Symbol.toStringTag] () { return 'AbortSignal' }

  abort (reason) {
    this.aborted = true
    this.reason = reason
    this.dispatchEvent(new Event('abort'))
  }
}

test('an AbortSignal of another realm is one, and its reason comes as it is', limit, async t => {
  const place = inprocPlace()
  const pipe = open(t, { push: place, pull: { connect: inprocPlace() }, request: { bind: inprocPlace() }, reply: { bind: inprocPlace() }, highWaterMark: { messages: 1 } })
  await pipe.push('first')
  const calls = {
    push: signal => pipe.push('second', { signal }),
    request: signal => pipe.request('question', { signal }),
    pull: signal => pipe.pull({ signal }).next(),
    'pull(handler)': signal => pipe.pull(() => {}, { signal }),
    reply: signal => pipe.reply(() => null, { signal }),
    ready: signal => pipe.ready({ pullers: 5, signal }),
    drain: signal => pipe.drain({ signal })
  }
  for (const [name, call] of Object.entries(calls)) {
    const signal = new ForeignSignal()
    const answer = call(signal)
    answer.catch(() => {})
    assert.deepEqual(await standing(answer), ['pending'], name)
    const reason = { because: name }
    signal.abort(reason)
    await assert.rejects(answer, error => error === reason, name)
    await assert.rejects(call(signal), error => error === reason, name)

    const silent = new ForeignSignal()
    silent.abort()
    await assert.rejects(call(silent), { name: 'AbortError' }, name)
  }
})
