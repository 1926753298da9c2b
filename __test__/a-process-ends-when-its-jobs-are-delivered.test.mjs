// How processes end: accepted jobs are delivered, or what became of them is said; nothing else keeps a process.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { puller } from './helpers/ends.mjs'
import { open } from './helpers/open.mjs'
import { ipcPlace } from './helpers/place.mjs'
import { program } from './helpers/program.mjs'
import { numbers, take, texts } from './helpers/take.mjs'

const timeout = 30_000
const at = endpoint => ({ env: { ZEROPIPE_ENDPOINT: endpoint } })

/** The end of a process that had nothing to say. */
const silently = { code: 0, signal: null, stdout: '', stderr: '' }

test('a program that only imports, or never uses its pipe, ends at once', { timeout }, async t => {
  const programs = [
    "import 'zeropipe'",
    "import { pipe, stats } from 'zeropipe'; pipe('tcp://127.0.0.1:*'); stats()",
    "import { on } from 'zeropipe'; on('join', () => {})"
  ]
  for (const text of programs) assert.deepEqual(await program(t, text, at(ipcPlace())).ended, silently)
})

test('an idle pipe, open at both ends, keeps no process', { timeout }, async t => {
  const { ended } = program(t, "import { ready } from 'zeropipe'; await ready()", at(ipcPlace()))
  assert.deepEqual(await ended, silently)
})

test('an idle pipe with a peer keeps no process', { timeout }, async t => {
  const address = ipcPlace()
  const worker = open(t, { pull: address })
  const got = take(worker, 1)
  const { ended } = program(t, "import { push, drain } from 'zeropipe'; await push('x'); await drain()", at(address))
  assert.deepEqual(texts(await got), ['x'])
  assert.deepEqual(await ended, silently)
})

test('a loop that was left keeps no process, whatever still arrives', { timeout }, async t => {
  const address = ipcPlace()
  const pusher = open(t, { push: { bind: address } })
  for (const job of numbers(100)) await pusher.push(job)
  const { ended } = program(t, "import { pull } from 'zeropipe'; for await (const [job] of pull()) { console.log(`${job}`); break }", at(address))
  assert.deepEqual(await ended, { ...silently, stdout: '0\n' })
})

test('a simple script delivers all it has pushed, without drain or close', { timeout }, async t => {
  const address = ipcPlace()
  const worker = open(t, { pull: address })
  const got = take(worker, 10_000)
  const { ended } = program(t, "import { push } from 'zeropipe'; for (let i = 0; i < 10_000; i++) await push(`${i}`)", at(address))
  assert.deepEqual(texts(await got), numbers(10_000))
  assert.deepEqual(await ended, silently)
})

test('pushes that nobody awaits are delivered, in order, before the end', { timeout }, async t => {
  const address = ipcPlace()
  const worker = open(t, { pull: address })
  const got = take(worker, 1000)
  const { ended } = program(t, "const { push } = require('zeropipe'); for (let i = 0; i < 1000; i++) push(`${i}`)", { ...at(address), extension: 'cjs' })
  assert.deepEqual(texts(await got), numbers(1000))
  assert.deepEqual(await ended, silently)
})

test('pushes that wait for room at the end are delivered too', { timeout }, async t => {
  const { pipe, address } = await puller(t)
  const { ended, said } = program(t, `
    import { pipe } from 'zeropipe'
    const { push } = pipe({ push: { connect: '${address}' }, highWaterMark: { messages: 10 } })
    for (let i = 0; i < 1000; i++) push(String(i))
    console.log('pushed')
  `)
  await said('pushed')
  assert.deepEqual(texts(await take(pipe, 1000)), numbers(1000))
  assert.deepEqual(await ended, { ...silently, stdout: 'pushed\n' })
})

test('jobs without a worker keep the process until one comes', { timeout }, async t => {
  const address = ipcPlace()
  const { ended, said } = program(t, "import { push } from 'zeropipe'; await push('early'); process.on('beforeExit', () => console.log('last line'))", at(address))
  await said('last line')
  const worker = open(t, { pull: address })
  assert.deepEqual(texts(await take(worker, 1)), ['early'])
  const { code, stderr } = await ended
  assert.deepEqual([code, stderr], [0, ''])
})

test('after 3 s of waiting one warning says how many, where and how to bound it', { timeout }, async t => {
  const address = ipcPlace()
  const { child, ended } = program(t, "import { push } from 'zeropipe'; await push('a'); await push('b')", at(address))
  let told = ''
  await new Promise(resolve => child.stderr.on('data', text => { told += text; if (/\n/.test(told)) resolve() }))
  const worker = open(t, { pull: address })
  assert.deepEqual(texts(await take(worker, 2)), ['a', 'b'])
  const { code, stderr } = await ended
  assert.equal(code, 0)
  assert.match(stderr, /\[ZEROPIPE_WAITING\].*2 jobs/)
  assert.ok(stderr.includes(address))
  assert.match(stderr, /linger/)
  assert.equal(stderr.split('ZEROPIPE_WAITING').length, 2)
})

test('linger bounds the end, and what was given up is counted', { timeout }, async t => {
  const { ended } = program(t, `
    import { pipe } from 'zeropipe'
    const { push } = pipe({ push: 'tcp://127.0.0.1:*', linger: 100 })
    for (let i = 0; i < 7; i++) await push('nobody')
  `)
  const { code, signal, stderr } = await ended
  assert.deepEqual([code, signal], [0, null])
  assert.match(stderr, /\[ZEROPIPE_GAVE_UP\].*7 (accepted )?jobs/)
})

test('a linger of 0 gives up at once what has no worker', { timeout }, async t => {
  const { ended } = program(t, `
    import { pipe } from 'zeropipe'
    const { push } = pipe({ push: { connect: 'tcp://127.0.0.1:1' }, linger: 0 })
    push('nobody')
  `)
  const { code, stderr } = await ended
  assert.equal(code, 0)
  assert.match(stderr, /\[ZEROPIPE_GAVE_UP\].*1 (accepted )?job /)
})

test('process.exit() flushes to a connected peer', { timeout }, async t => {
  const { pipe, address } = await puller(t)
  const { ended } = program(t, `
    import { pipe } from 'zeropipe'
    const { push, ready } = pipe({ push: { connect: '${address}' } })
    await ready({ pullers: 1 })
    for (let i = 0; i < 5000; i++) push('number ' + i)
    process.exit(3)
  `)
  const jobs = texts(await take(pipe, 5000))
  assert.equal(jobs[4999], 'number 4999')
  assert.deepEqual(await ended, { ...silently, code: 3 })
})

test('process.exit() without a peer ends at once, and says what was given up', { timeout }, async t => {
  const { ended } = program(t, "import { push } from 'zeropipe'; await push('a'); await push('b'); process.exit()", at(ipcPlace()))
  const { code, stderr } = await ended
  assert.equal(code, 0)
  assert.match(stderr, /gave up 2 accepted jobs/)
})

test('process.exit() waits at most 2 s for a peer that takes nothing', { timeout }, async t => {
  const { pipe, address } = await puller(t)
  const { ended, said } = program(t, `
    import { pipe } from 'zeropipe'
    const { push, ready } = pipe({ push: { connect: '${address}' } })
    await ready({ pullers: 1 })
    for (let i = 0; i < 20; i++) await push(Buffer.alloc(3 << 20))
    const began = Date.now()
    process.on('exit', () => console.log('waited ' + (Date.now() - began)))
    process.exit()
  `)
  await said('waited')
  const { code, stdout, stderr } = await ended
  assert.equal(code, 0)
  assert.match(stderr, /gave up \d+ accepted jobs/)
  assert.ok(Number(/waited (\d+)/.exec(stdout)[1]) < 8000)
  assert.equal(pipe.stats().pull.peers.length <= 1, true)
})

test('an uncaught error is exit code 1, and accepted jobs are flushed', { timeout }, async t => {
  const { pipe, address } = await puller(t)
  const { ended } = program(t, `
    import { pipe } from 'zeropipe'
    const { push, ready } = pipe({ push: { connect: '${address}' } })
    await ready({ pullers: 1 })
    for (let i = 0; i < 100; i++) await push('number ' + i)
    throw new Error('on purpose')
  `)
  assert.equal(texts(await take(pipe, 100))[99], 'number 99')
  const { code, signal, stderr } = await ended
  assert.deepEqual([code, signal], [1, null])
  assert.match(stderr, /on purpose/)
})

test('an uncaught error in a loop body is exit code 1, though jobs wait for the loop', { timeout }, async t => {
  const address = ipcPlace()
  const pusher = open(t, { push: { bind: address } })
  for (const job of numbers(10)) await pusher.push(job)
  const { ended } = program(t, "import { pull } from 'zeropipe'; for await (const [job] of pull()) throw new Error(`at ${job}`)", at(address))
  const { code, stderr } = await ended
  assert.equal(code, 1)
  assert.match(stderr, /at 0/)
})
