import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pipe as makePipe } from '../index.js'
import { open } from './helpers/open.mjs'
import { inprocPlace } from './helpers/place.mjs'

const limit = { timeout: 10_000 }
const place = inprocPlace()
const INVALID_OPTION = 'ERR_ZEROPIPE_INVALID_OPTION'
const INVALID_ENDPOINT = 'ERR_ZEROPIPE_INVALID_ENDPOINT'

/** Every call of a pipe with wrong options. */
const calls = {
  push: pipe => pipe.push('job'),
  'push of two frames': pipe => pipe.push(['a', 'b'], {}),
  'pull().next()': pipe => pipe.pull().next(),
  'for await': async pipe => { for await (const job of pipe.pull({ batch: 2 })) assert.fail(`got ${job}`) },
  'pull(handler)': pipe => pipe.pull(() => {}),
  ready: pipe => pipe.ready(),
  drain: pipe => pipe.drain()
}

async function assertRejects (makeCall, code, mentions) {
  let answer
  assert.doesNotThrow(() => { answer = makeCall() })
  assert.ok(answer instanceof Promise)
  await assert.rejects(answer, error => {
    assert.ok(error instanceof Error)
    assert.equal(error.code, code, error.message)
    assert.ok(error.message.includes(mentions), `${error.message} mentions ${mentions}`)
    return true
  })
}

/** pipe() itself never throws; each call rejects, again and again. */
async function assertWrong (options, code, mentions) {
  let pipe
  assert.doesNotThrow(() => { pipe = makePipe(options) })
  for (const call of Object.values(calls)) await assertRejects(() => call(pipe), code, mentions)
  assert.deepEqual(pipe.stats().push.bound, [])
}

const wrongEndpoints = [
  '', 'nonsense', '127.0.0.1:7777', 'localhost', 'tcp://', 'tcp://localhost', 'tcp://localhost:', 'tcp://:7777', 'tcp://localhost:http',
  'tcp://localhost:65536', 'tcp://localhost:-1', 'tcp://localhost:7777x', 'tcp://localhost: 7777', 'tcp://a b:7777', 'tcp://::1:7777', 'tcp://[::1:7777',
  'tcp://[nonsense]:7777', 'tcp://localhost:7777/path', 'udp://localhost:7777', 'http://localhost:7777', 'TCP:/localhost:7777', 'ipc://',
  'ipc://@', `ipc:///${'x'.repeat(200)}`, 'ipc:///tmp/a\0b', 'inproc://', ' tcp://localhost:7777'
]

for (const endpoint of wrongEndpoints) {
  test(`${JSON.stringify(endpoint)} is no endpoint, wherever it stands`, limit, async () => {
    const mentions = endpoint.replaceAll('\0', '\\0')
    for (const options of [endpoint, { push: endpoint }, { pull: { bind: endpoint } }, { push: { connect: [place, endpoint] } }]) {
      const pipe = makePipe(options)
      await assertRejects(() => pipe.push('job'), INVALID_ENDPOINT, mentions)
      await assertRejects(() => pipe.pull().next(), INVALID_ENDPOINT, mentions)
    }
  })
}

test('wrong endpoints reject every call', limit, async () => {
  await assertWrong('nonsense', INVALID_ENDPOINT, 'nonsense')
  await assertWrong({ pull: 'tcp://somewhere' }, INVALID_ENDPOINT, 'tcp://somewhere')
})

test('what is connected to needs a port', limit, async () => {
  for (const endpoint of ['tcp://localhost:0', 'tcp://localhost:*']) {
    await assertWrong({ push: { connect: endpoint } }, INVALID_ENDPOINT, endpoint)
    await assertWrong({ pull: endpoint }, INVALID_ENDPOINT, endpoint)
  }
})

test('an endpoint that is no string is an error', limit, async () => {
  for (const endpoint of [7777, true, null, {}, Symbol('x'), Object.create(null)]) {
    await assertRejects(() => makePipe({ push: { bind: endpoint } }).push('job'), INVALID_ENDPOINT, '')
    await assertRejects(() => makePipe({ push: { connect: [endpoint] } }).push('job'), INVALID_ENDPOINT, '')
  }
})

const wrongOptions = {
  pipe: [null, 7777, true, ['tcp://localhost:7777'], Symbol('x')],
  'no such option': [{ nosuch: 1 }, { push: place, highWatermark: {} }],
  push: [{ push: null }, { push: 7777 }, { push: {} }, { push: [place] }, { push: { bind: [], connect: [] } }],
  pull: [{ pull: {} }, { pull: false }],
  'no such site': [{ push: { bindTo: place } }, { pull: { connect: place, port: 1 } }],
  highWaterMark: [{ highWaterMark: 5 }, { highWaterMark: null }, { highWaterMark: [] }],
  'highWaterMark.messages': [0, -1, 1.5, NaN, Infinity, '5', null, 5n, {}].map(messages => ({ highWaterMark: { messages } })),
  'highWaterMark.bytes': [0, -1, 1.5, NaN, '5', Object.create(null)].map(bytes => ({ highWaterMark: { bytes } })),
  maxMessageSize: [0, -1, 1.5, NaN, Infinity, '5', 2 ** 31, Symbol('x')].map(maxMessageSize => ({ maxMessageSize })),
  linger: [-1, NaN, '5', null, false].map(linger => ({ linger })),
  maxAttempts: [0, -1, 1.5, NaN, '5'].map(maxAttempts => ({ maxAttempts })),
  heartbeat: [{ heartbeat: 5000 }, { heartbeat: null }],
  'heartbeat.interval': [-1, NaN, Infinity, '5'].map(interval => ({ heartbeat: { interval } })),
  'heartbeat.timeout': [-1, NaN, Infinity, '5'].map(timeout => ({ heartbeat: { timeout } })),
  identity: [5, null, 'x'.repeat(256), 'ż'.repeat(128)].map(identity => ({ identity }))
}
const mentioned = { 'no such option': '', 'no such site': '' }

for (const [name, all] of Object.entries(wrongOptions)) {
  test(`wrong values of ${name} reject every call`, limit, async () => {
    for (const options of all) await assertWrong(options, INVALID_OPTION, mentioned[name] ?? name)
  })
}

test('an unknown option is named', limit, async () => {
  await assertWrong({ highWatermark: {} }, INVALID_OPTION, 'highWatermark')
  await assertWrong({ push: { bindTo: place } }, INVALID_OPTION, 'bindTo')
  await assertWrong({ highWaterMark: { jobs: 5 } }, INVALID_OPTION, 'jobs')
  await assertWrong({ heartbeat: { ttl: 5 } }, INVALID_OPTION, 'ttl')
})

test('an end that the pipe does not have is named', limit, async t => {
  await assertRejects(() => open(t, { pull: place }).push('job'), INVALID_OPTION, 'push')
  await assertRejects(() => open(t, { push: place }).pull().next(), INVALID_OPTION, 'pull')
  await assertRejects(() => open(t, { push: place }).pull(() => {}), INVALID_OPTION, 'pull')
})

const wrongCalls = {
  push: [
    pipe => [pipe.push('job', { signla: 1 }), 'signla'],
    pipe => [pipe.push('job', { signal: {} }), 'signal'],
    pipe => [pipe.push('job', { signal: null }), 'signal'],
    pipe => [pipe.push('job', null), 'push'],
    pipe => [pipe.push('job', 'more'), 'push']
  ],
  pull: [
    pipe => [pipe.pull({ bacth: 5 }).next(), 'bacth'],
    pipe => [pipe.pull({ concurrency: 5 }).next(), 'concurrency'],
    ...[0, -1, 1.5, NaN, '5', null].map(batch => pipe => [pipe.pull({ batch }).next(), 'batch']),
    ...[1, 'yes', null].map(info => pipe => [pipe.pull({ info }).next(), 'info']),
    ...[-1, 'more', null].map(prefetch => pipe => [pipe.pull({ prefetch }).next(), 'prefetch']),
    pipe => [pipe.pull({ signal: 5 }).next(), 'signal'],
    pipe => [pipe.pull(5).next(), 'pull'],
    pipe => [pipe.pull(null).next(), 'pull']
  ],
  'pull(handler)': [
    ...[0, -1, 1.5, NaN, '5', null].map(concurrency => pipe => [pipe.pull(() => {}, { concurrency }), 'concurrency']),
    pipe => [pipe.pull(() => {}, { batch: 5 }), 'batch'],
    pipe => [pipe.pull(() => {}, { signal: {} }), 'signal'],
    pipe => [pipe.pull(() => {}, 5), 'pull']
  ],
  ready: [
    pipe => [pipe.ready({ puller: 1 }), 'puller'],
    ...[-1, 1.5, '1', null, true].map(pullers => pipe => [pipe.ready({ pullers }), 'pullers']),
    pipe => [pipe.ready({ pushers: NaN }), 'pushers'],
    pipe => [pipe.ready({ signal: 1 }), 'signal'],
    pipe => [pipe.ready(1), 'ready']
  ],
  drain: [
    pipe => [pipe.drain({ linger: 1 }), 'linger'],
    pipe => [pipe.drain({ signal: 1 }), 'signal']
  ],
  close: [
    pipe => [pipe.close({ ligner: 1 }), 'ligner'],
    ...[-1, NaN, '5', null].map(linger => pipe => [pipe.close({ linger }), 'linger'])
  ]
}

for (const [name, all] of Object.entries(wrongCalls)) {
  test(`wrong options of a call of ${name} are named in its rejection`, limit, async t => {
    const pipe = open(t, inprocPlace())
    for (const call of all) {
      let answer
      assert.doesNotThrow(() => { answer = call(pipe) })
      await assertRejects(() => answer[0], INVALID_OPTION, answer[1])
    }
    // None of this has closed or broken the pipe.
    await pipe.push('job')
    assert.equal((await pipe.pull({}).next()).value.toString(), 'job')
  })
}

test('a loop with wrong options can be left like any other', limit, async t => {
  const iterator = open(t, inprocPlace()).pull({ batch: 0 })
  await assert.rejects(iterator.next(), { code: INVALID_OPTION })
  assert.deepEqual(await iterator.return(), { value: undefined, done: true })
})

test('options that are given as undefined are as if not given', limit, async t => {
  const pipe = open(t, {
    push: inprocPlace(), highWaterMark: undefined, maxMessageSize: undefined, linger: undefined, maxAttempts: undefined,
    heartbeat: { interval: undefined, timeout: undefined }, identity: undefined
  })
  await pipe.push('job', undefined)
  await pipe.push('job', { signal: undefined })
  await pipe.ready({ pullers: undefined, pushers: undefined, signal: undefined })
  const worker = open(t, { pull: pipe.stats().push.bound[0] })
  assert.equal((await worker.pull({ batch: undefined, info: undefined, signal: undefined, prefetch: undefined }).next()).value.toString(), 'job')
})
