// What stands where options are expected, and is none: refused, with what was probably meant.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runInNewContext } from 'node:vm'
import { pipe as makePipe } from '../index.js'
import { open } from './helpers/open.mjs'
import { inprocPlace } from './helpers/place.mjs'

const limit = { timeout: 10_000 }
const INVALID_OPTION = 'ERR_ZEROPIPE_INVALID_OPTION'
const { signal } = new AbortController()

/** Each call that takes options, made with some. */
const calls = {
  push: (pipe, options) => pipe.push('job', options),
  request: (pipe, options) => pipe.request('job', options),
  pull: (pipe, options) => pipe.pull(options).next(),
  'pull(handler)': (pipe, options) => pipe.pull(() => {}, options),
  reply: (pipe, options) => pipe.reply(() => null, options),
  ready: (pipe, options) => pipe.ready(options),
  drain: (pipe, options) => pipe.drain(options),
  close: (pipe, options) => pipe.close(options)
}

/** Nothing is thrown: the promise rejects, and the text has each of those parts. */
async function assertRefused (call, ...parts) {
  let answer
  assert.doesNotThrow(() => { answer = call() })
  await assert.rejects(answer, error => {
    assert.equal(error.code, INVALID_OPTION, error.message)
    for (const part of parts) assert.ok(error.message.includes(part), `"${error.message}" has "${part}"`)
    return true
  })
}

/** Nothing that was refused has opened, sent or closed anything. */
function assertUntouched (pipe) {
  const { push, pull, request, reply } = pipe.stats()
  assert.deepEqual([push, pull, request, reply].map(({ bound }) => bound), [[], [], [], []])
}

for (const [name, call] of Object.entries(calls)) {
  test(`an AbortSignal by itself is no options of ${name}`, limit, async t => {
    const pipe = open(t, inprocPlace())
    const advice = name === 'close' ? 'close takes no signal' : 'write { signal }'
    for (const one of [signal, AbortSignal.timeout(1), AbortSignal.abort()]) await assertRefused(() => call(pipe, one), 'an AbortSignal was given', name, advice)
    await assertRefused(() => call(pipe, new AbortController()), 'an AbortController', name)
    assertUntouched(pipe)
  })

  test(`what is no plain object is no options of ${name}, and what it is is said`, limit, async t => {
    const pipe = open(t, inprocPlace())
    class Settings {}
    const others = {
      'a Map': new Map(), 'a Set': new Set(), 'a Promise': Promise.resolve({}), 'a URL': new URL('tcp://host:1'), 'a Date': new Date(), 'an Array': [],
      'an Error': new Error('x'), 'a Settings': new Settings(), 'a Uint8Array': new Uint8Array(1), 'a Math': Math, null: null, true: true, '5n': 5n,
      Symbol: Symbol('x'), 'a function': () => {}
    }
    // A function in the place of pull's options is its handler.
    if (name === 'pull') delete others['a function']
    for (const [what, value] of Object.entries(others)) await assertRefused(() => call(pipe, value), `${what}`, 'was given where the options', name)
    await assertRefused(() => call(pipe, Promise.resolve({})), 'await it')
    assertUntouched(pipe)
  })

  test(`plain objects of any realm, and those without a prototype, are options of ${name}`, limit, async t => {
    const plain = [runInNewContext('({})'), Object.create(null), Object.freeze({}), runInNewContext('Object.create(null)'), new Proxy({}, {})]
    for (const options of plain) {
      const pipe = open(t, inprocPlace())
      const answer = Promise.resolve(call(pipe, options))
      answer.catch(error => assert.equal(error.code, 'ERR_ZEROPIPE_CLOSED'))
      const isRefused = await Promise.race([answer.then(() => false, error => error.code === INVALID_OPTION), pipe.ready().then(() => false, () => false)])
      assert.equal(isRefused, false)
    }
  })

  test(`options of ${name} that can't be read reject with what they say`, limit, async t => {
    const pipe = open(t, inprocPlace())
    const { proxy, revoke } = Proxy.revocable({}, {})
    revoke()
    await assertRefused(() => call(pipe, proxy), name)
    await assertRefused(() => call(pipe, { get signal () { throw new Error('the getter says no') } }), 'the getter says no', name)
    await assertRefused(() => call(pipe, new Proxy({}, { ownKeys () { throw new Error('the trap says no') } })), 'the trap says no', name)
    assertUntouched(pipe)
  })

  test(`an unknown option of ${name} names the nearest known one`, limit, async t => {
    const pipe = open(t, inprocPlace())
    const [given, known] = name === 'close' ? ['Lingre', 'linger'] : ['Singal', 'signal']
    await assertRefused(() => call(pipe, { [given]: 1 }), JSON.stringify(given), `did you mean ${known}?`, name)
    await assertRefused(() => call(pipe, { somethingElseAltogether: 1 }), 'somethingElseAltogether', 'there are', known)
  })
}

test('a number or a function says which option, or order, was meant', limit, async t => {
  const pipe = open(t, inprocPlace())
  await assertRefused(() => pipe.request('job', 200), '{ timeout: 200 }')
  await assertRefused(() => pipe.close(500), '{ linger: 500 }')
  await assertRefused(() => pipe.ready(3), '{ pullers: 3 }')
  await assertRefused(() => pipe.pull(10).next(), '{ batch: 10 }')
  await assertRefused(() => pipe.pull(() => {}, 8), '{ concurrency: 8 }')
  await assertRefused(() => pipe.reply(() => null, 8), '{ concurrency: 8 }')
  await assertRefused(() => pipe.pull({ concurrency: 8 }, () => {}).next(), 'concurrency')
  await assertRefused(() => pipe.pull({}, () => {}).next(), 'pull(handler, options)')
  await assertRefused(() => pipe.pull(undefined, { concurrency: 8 }).next(), 'pull(handler, options)')
  await assertRefused(() => pipe.reply({ concurrency: 8 }, () => null), 'reply(handler, options)')
  await assertRefused(() => pipe.reply(), 'undefined')
  await assertRefused(() => pipe.push('job', () => {}), 'no callback')
  await assertRefused(() => pipe.push('a frame', 'another'), 'push([a, b])')
  await assertRefused(() => pipe.push('a frame', Buffer.from('another')), 'push([a, b])')
  assertUntouched(pipe)
})

test('push handed to array.map, and close to process.on, say what happened and how to write it', limit, async t => {
  const pipe = open(t, inprocPlace())
  for (const push of ['a', 'b'].map(pipe.push)) await assertRefused(() => push, 'array.map(job => push(job))')
  for (const request of ['a', 'b'].map(pipe.request)) await assertRefused(() => request, 'array.map(job => request(job))')
  await assertRefused(() => pipe.close('SIGTERM', 15), "process.on('SIGTERM', () => close())")
})

test('what is no options of a pipe is refused, and none of it listens on the default address', limit, async () => {
  const wrong = [
    [new URL('tcp://127.0.0.1:1'), 'a URL', 'url.href'], [new Map(), 'a Map'], [Promise.resolve('tcp://127.0.0.1:1'), 'await it'], [new Date(), 'a Date'],
    [7777, "'tcp://127.0.0.1:7777'"], [['tcp://127.0.0.1:1'], '{ push: { bind: […] } }'], [null, 'null'], [() => {}, 'a function'], [signal, 'an AbortSignal'],
    [{ push: undefined }, 'push', 'undefined', 'leave it out'], [{ pull: inprocPlace(), push: undefined }, 'push', 'undefined'],
    [{ push: { bind: undefined } }, 'push.bind', 'undefined'], [{ reply: { connect: undefined } }, 'reply.connect', 'undefined'], [{ pull: { bind: undefined, connect: undefined } }, 'pull.bind', 'undefined'],
    [{ push: new URL('tcp://127.0.0.1:1') }, 'push', 'url.href'], [{ push: Promise.resolve('x') }, 'push', 'await it'], [{ push: 7777 }, "'tcp://127.0.0.1:7777'"],
    [{ push: ['tcp://127.0.0.1:1'] }, '{ bind: […] }'], [{ push: new Map() }, 'a Map'], [{ push: inprocPlace(), highWaterMark: new Map() }, 'highWaterMark', 'a Map'],
    [{ push: inprocPlace(), heartbeat: 5000 }, 'heartbeat', '5000'], [{ push: inprocPlace(), heartbeat: { intervall: 1 } }, 'did you mean interval?'],
    [{ highwatermark: {} }, 'did you mean highWaterMark?'], [{ pushh: inprocPlace() }, 'did you mean push?'], [{ push: { Bind: 'x' } }, 'did you mean bind?']
  ]
  for (const [options, ...parts] of wrong) {
    const pipe = makePipe(options)
    for (const call of [pipe => pipe.push('job'), pipe => pipe.pull().next(), pipe => pipe.request('job'), pipe => pipe.ready()]) {
      await assertRefused(() => call(pipe), ...parts)
    }
    assertUntouched(pipe)
  }
})

test('where one end binds may be undefined beside where it connects', limit, async t => {
  const place = inprocPlace()
  const pipe = open(t, { push: { bind: place, connect: undefined }, pull: { connect: place, bind: undefined } })
  await pipe.push('job')
  assert.equal(String((await pipe.pull().next()).value), 'job')
})

test('an address that is a URL, or a Promise, says how to give it', limit, async () => {
  const url = { code: 'ERR_ZEROPIPE_INVALID_ENDPOINT', message: /url\.href/ }
  await assert.rejects(makePipe({ push: { bind: new URL('tcp://127.0.0.1:1') } }).push('job'), url)
  await assert.rejects(makePipe({ push: { bind: [new URL('tcp://127.0.0.1:1')] } }).push('job'), url)
  await assert.rejects(makePipe({ push: { bind: Promise.resolve('x') } }).push('job'), { ...url, message: /await it/ })
  await assert.rejects(makePipe({ push: { bind: [, 'tcp://127.0.0.1:*'] } }).push('job'), { ...url, message: /undefined is no endpoint/ }) // eslint-disable-line no-sparse-arrays
})

test('addresses, marks and heartbeats may be of another realm', limit, async t => {
  const place = inprocPlace()
  const options = runInNewContext('({ push: { bind: [place] }, pull: { connect: place }, highWaterMark: { messages: 5 }, heartbeat: {} })', { place })
  const pipe = open(t, options)
  await pipe.push('job')
  assert.equal(String((await pipe.pull().next()).value), 'job')
})

test('a listener of an event that there is not is refused, and the events are named, the nearest first', limit, async t => {
  const pipe = open(t, inprocPlace())
  const refused = (...parts) => error => {
    assert.equal(error.code, INVALID_OPTION)
    for (const part of parts) assert.ok(error.message.includes(part), `"${error.message}" has "${part}"`)
    return true
  }
  for (const member of ['on', 'once', 'off']) {
    assert.throws(() => pipe[member]('message', () => {}), refused('"message"', 'jobs come by pull()', 'dead', 'join', 'leave', 'listening', 'refused', 'unreachable'))
    assert.throws(() => pipe[member]('error', () => {}), refused('"error"', 'rejects'))
    assert.throws(() => pipe[member]('Joined', () => {}), refused('did you mean join?', 'there are: join, '))
    assert.throws(() => pipe[member]('toString', () => {}), refused('"toString"'))
    assert.throws(() => pipe[member](Symbol('join'), () => {}), refused('Symbol(join)'))
    assert.throws(() => pipe[member](undefined, () => {}), refused('undefined'))
    assert.throws(() => pipe[member]('join'), refused('join', 'undefined', 'function'))
    assert.throws(() => pipe[member]('join', { handleEvent () {} }), refused('join', 'an object'))
    for (const name of ['listening', 'join', 'leave', 'refused', 'unreachable', 'dead']) assert.equal(pipe[member](name, () => {}), pipe)
  }
})
