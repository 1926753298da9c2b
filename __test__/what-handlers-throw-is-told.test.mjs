// Whatever a handler throws: the requester's rejection, the event `dead` and the warning say what
// it says, and nothing becomes "[object Object]".
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runInNewContext } from 'node:vm'
import { puller, pusher, replier } from './helpers/ends.mjs'
import { happening } from './helpers/happening.mjs'
import { open } from './helpers/open.mjs'
import { program } from './helpers/program.mjs'
import { dial, job } from './helpers/raw-peer.mjs'

const limit = { timeout: 30_000 }
const JOB_FAILED = 'ERR_ZEROPIPE_JOB_FAILED'
const coded = (error, code) => Object.assign(error, { code })
const silent = error => Object.defineProperty(error, 'message', { get () { throw new Error('never') } })
const { proxy: revoked, revoke } = Proxy.revocable({}, {})
revoke()

/** What is thrown, all that is said of it, and the code that comes with it if it has one. */
const thrown = {
  'an Error': [new Error('the disk is full'), ['the disk is full']],
  'an Error with a code': [coded(new Error('the disk is full'), 'ENOSPC'), ['the disk is full'], 'ENOSPC'],
  'an Error with a code that is a number': [coded(new Error('not found'), 404), ['not found']],
  'a frozen Error': [Object.freeze(coded(new TypeError('frozen'), 'EICE')), ['frozen'], 'EICE'],
  'an Error of another realm': [runInNewContext("Object.assign(new RangeError('far away'), { code: 'EFAR' })"), ['far away'], 'EFAR'],
  'an Error without a message': [new RangeError(), ['']],
  'an Error whose message is no string': [Object.defineProperty(new Error(), 'message', { value: { why: 'no disk' } }), ['no disk']],
  'an Error whose message is a getter that throws': [silent(new Error()), ['']],
  'an Error whose code is a getter that throws': [Object.defineProperty(new Error('uncoded'), 'code', { get () { throw new Error('never') } }), ['uncoded']],
  'a DOMException': [new DOMException('gone', 'AbortError'), ['gone']],
  'an AggregateError': [new AggregateError([new Error('disk one'), 'disk two', { message: 'disk three' }], 'all failed'), ['all failed', 'disk one', 'disk two', 'disk three']],
  'an AggregateError without a message': [coded(new AggregateError([new Error('::1'), new Error('127.0.0.1')]), 'ECONNREFUSED'), ['::1', '127.0.0.1'], 'ECONNREFUSED'],
  'an AggregateError of AggregateErrors': [new AggregateError([new AggregateError([new Error('deep')], 'inner')], 'outer'), ['outer', 'inner', 'deep']],
  'an AggregateError of another realm': [runInNewContext("new AggregateError([new Error('one'), new Error('two')], 'far')"), ['far', 'one', 'two']],
  'an AggregateError that holds itself': [(error => { error.errors.push(error, new Error('other')); return error })(new AggregateError([], 'round')), ['round', 'other']],
  'an object with a message and a code': [{ message: 'no quota', code: 'EQUOTA' }, ['no quota'], 'EQUOTA'],
  'an object without a message': [{ status: 503, reason: 'overloaded' }, ['503', 'overloaded']],
  'an object without a prototype': [Object.assign(Object.create(null), { reason: 'bare' }), ['bare']],
  'an object that has a text': [{ toString: () => 'told by toString' }, ['told by toString']],
  'an object whose text throws': [{ toString () { throw new Error('never') }, reason: 'mute' }, ['mute']],
  'an array': [['first', 'second'], ['first', 'second']],
  'a Map': [new Map([['reason', 'mapped']]), ['Map']],
  'a string': ['just text', ['just text']],
  'an empty string': ['', ['']],
  'a number': [42, ['42']],
  'a bigint': [5n, ['5']],
  'a symbol': [Symbol('sign'), ['sign']],
  null: [null, ['null']],
  undefined: [undefined, ['undefined']],
  'a function': [function explain () {}, ['explain']],
  'a proxy of an Error': [new Proxy(new Error('behind'), {}), ['behind']],
  'a proxy whose traps throw': [new Proxy({}, { get () { throw new Error('never') } }), ['']],
  'a revoked proxy': [revoked, ['']]
}

function assertSays (text, parts, name) {
  assert.equal(typeof text, 'string', name)
  assert.ok(!text.includes('[object '), `${name}: ${text}`)
  for (const part of parts) assert.ok(text.includes(part), `${name}: "${text}" has "${part}"`)
}

for (const how of ['throws', 'rejects']) {
  const fail = name => {
    if (how === 'rejects') return Promise.reject(thrown[name][0])
    throw thrown[name][0]
  }

  test(`a request whose handler ${how} anything rejects with what that says`, limit, async t => {
    const { pipe, address } = await replier(t)
    pipe.reply(([name]) => fail(String(name))).catch(() => {})
    const asker = open(t, { request: address })
    for (const [name, [, parts, code = JOB_FAILED]] of Object.entries(thrown)) {
      await assert.rejects(asker.request(name), error => {
        assert.ok(error instanceof Error)
        assertSays(error.message, parts, name)
        assert.equal(error.code, code, name)
        return true
      })
    }
  })

  test(`the dead job of a handler that ${how} anything says what that says, where it was pushed`, limit, async t => {
    const { pipe, address } = await pusher(t, { maxAttempts: 1 })
    open(t, { pull: address }).pull(([name]) => fail(String(name))).catch(() => {})
    for (const [name, [, parts]] of Object.entries(thrown)) {
      const dead = happening(pipe, 'dead')
      await pipe.push(name)
      const { error, job: [text] } = await dead
      assert.equal(String(text), name)
      assert.equal(error.code, JOB_FAILED)
      assertSays(error.message, parts, name)
    }
  })

  test(`the dead job of a plain pusher has the very thing that its handler ${how}`, limit, async t => {
    const { pipe, address } = await puller(t, { maxAttempts: 1 })
    const peer = await dial(t, address)
    await peer.handshake('PUSH')
    pipe.pull(([name]) => fail(String(name))).catch(() => {})
    for (const [name, [value]] of Object.entries(thrown)) {
      const dead = happening(pipe, 'dead')
      await peer.flush(job(name))
      assert.ok(Object.is((await dead).error, value), name)
    }
  })
}

test('without a listener the warning says it, of either kind of pusher', limit, async t => {
  const { ended } = program(t, `
    import { pipe } from 'zeropipe'
    const own = pipe({ push: 'inproc://own', pull: { connect: 'inproc://own' }, maxAttempts: 1 })
    const throwing = { text: 'just text', object: { status: 503 }, many: new AggregateError([new Error('one'), new Error('two')]), nothing: null }
    let left = 4
    own.pull(([name]) => { throw throwing[name] })
    process.on('warning', ({ code, message }) => {
      console.log(code, message)
      if (--left === 0) own.close()
    })
    for (const name in throwing) own.push(name)
  `, { execArgv: [] })
  const { stdout, code } = await ended
  assert.equal(code, 0)
  const told = stdout.trim().split('\n')
  assert.equal(told.length, 4, stdout)
  for (const text of told) assert.ok(text.startsWith('ZEROPIPE_DEAD ') && !text.includes('[object'), text)
  for (const part of ['just text', '503', 'one; two', 'null']) assert.ok(stdout.includes(part), stdout)
})

test('whatever some handlers throw, the others beside them answer', limit, async t => {
  const { pipe, address } = await replier(t)
  pipe.reply(([name]) => {
    if (thrown[name] === undefined) return name
    throw thrown[name][0]
  }, { concurrency: 8 }).catch(() => {})
  const asker = open(t, { request: address })
  const names = Object.keys(thrown).flatMap(name => [name, `good ${name}`])
  const outcomes = await Promise.allSettled(names.map(name => asker.request(name)))
  assert.deepEqual(outcomes.map(({ status }) => status), names.map((_, index) => index % 2 === 0 ? 'rejected' : 'fulfilled'))
})
