// Signals, failures and exit codes: how soon a process ends, with what code, and what became of the jobs.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { puller, pusher } from './helpers/ends.mjs'
import { open } from './helpers/open.mjs'
import { ipcPlace } from './helpers/place.mjs'
import { program } from './helpers/program.mjs'
import { spinsAfterErrors } from './helpers/runtime.mjs'
import { numbers, take, texts } from './helpers/take.mjs'
import { until } from './helpers/until.mjs'
import { loop, worker } from './helpers/worker.mjs'

const timeout = 30_000
const signals = ['SIGINT', 'SIGTERM']
const isWindows = process.platform === 'win32'

/** What ends at once ends long before a process that waits for something of ours would. */
const AT_ONCE = 5_000

/** How a process ends that must end now. */
async function endedSoon ({ ended }) {
  const began = Date.now()
  const end = await ended
  assert.ok(Date.now() - began < AT_ONCE, `it took ${Date.now() - began} ms`)
  return end
}

for (const signal of signals) {
  test(`${signal} without a handler ends a pusher at once, though jobs wait for a worker`, { timeout, skip: isWindows }, async t => {
    const pushing = program(t, `
      import { push } from 'zeropipe'
      for (let i = 0; i < 5; i++) await push('nobody')
      console.log('pushed')
    `, { env: { ZEROPIPE_ENDPOINT: ipcPlace() } })
    await pushing.said('pushed')
    pushing.child.kill(signal)
    assert.deepEqual(await endedSoon(pushing), { code: null, signal, stdout: 'pushed\n', stderr: '' })
  })

  test(`${signal} without a handler ends a worker at once, and what it had in hand goes to another`, { timeout, skip: isWindows }, async t => {
    const { pipe, address } = await pusher(t)
    const first = worker(t, address, loop('await new Promise(() => setInterval(() => {}, 1000))'))
    await pipe.push('job')
    await until(() => first.begun.length === 1)
    first.child.kill(signal)
    assert.deepEqual(await endedSoon(first).then(({ code, signal }) => [code, signal]), [null, signal])
    const second = worker(t, address, loop('break'))
    assert.equal((await second.ended).code, 0)
    assert.deepEqual(second.begun.map(({ text, attempt }) => [text, attempt]), [['job', 2]])
  })

  test(`${signal} with a handler that closes: all that was pushed is delivered, then the process ends with 0`, { timeout, skip: isWindows }, async t => {
    const { pipe, address } = await puller(t)
    const pushing = program(t, `
      import { pipe } from 'zeropipe'
      const { push, close } = pipe({ push: { connect: '${address}' } })
      process.once('${signal}', () => close())
      for (let i = 0; i < 1000; i++) await push(String(i))
      console.log('pushed')
      setInterval(() => {}, 1000).unref()
      try {
        for (;;) await push('more'), await new Promise(resolve => setTimeout(resolve, 1))
      } catch (error) {
        console.log(error.code)
      }
    `)
    await pushing.said('pushed')
    pushing.child.kill(signal)
    await pushing.said('ERR_ZEROPIPE_CLOSED')
    assert.deepEqual(texts(await take(pipe, 1000)), numbers(1000))
    ;(async () => { for await (const _ of pipe.pull()); })()
    assert.deepEqual(await pushing.ended, { code: 0, signal: null, stdout: 'pushed\nERR_ZEROPIPE_CLOSED\n', stderr: '' })
  })

  test(`${signal} with a handler that calls process.exit(): what connected peers can take is theirs`, { timeout, skip: isWindows }, async t => {
    const { pipe, address } = await puller(t)
    const pushing = program(t, `
      import { pipe } from 'zeropipe'
      const { push, ready } = pipe({ push: { connect: '${address}' } })
      process.once('${signal}', () => process.exit(7))
      await ready({ pullers: 1 })
      for (let i = 0; i < 1000; i++) await push(String(i))
      console.log('pushed')
      setInterval(() => {}, 1000)
    `)
    await pushing.said('pushed')
    pushing.child.kill(signal)
    assert.deepEqual(texts(await take(pipe, 1000)), numbers(1000))
    assert.deepEqual(await endedSoon(pushing), { code: 7, signal: null, stdout: 'pushed\n', stderr: '' })
  })

  test(`${signal} with a handler that does nothing leaves a loop waiting for jobs`, { timeout, skip: isWindows }, async t => {
    const { pipe, address } = await pusher(t)
    const waiting = program(t, `
      import { pipe } from 'zeropipe'
      process.on('${signal}', () => console.log('heard'))
      const { pull, ready } = pipe({ pull: '${address}' })
      await ready({ pushers: 1 })
      console.log('waits')
      for await (const [job] of pull()) {
        console.log(String(job))
        break
      }
    `)
    await waiting.said('waits')
    waiting.child.kill(signal)
    await waiting.said('heard')
    await pipe.push('after it')
    assert.deepEqual(await waiting.ended, { code: 0, signal: null, stdout: 'waits\nheard\nafter it\n', stderr: '' })
  })
}

test('an unhandled rejection is exit code 1: accepted jobs are flushed, and the job in hand goes to another', { timeout, skip: spinsAfterErrors }, async t => {
  const { pipe: results, address: back } = await puller(t)
  const { pipe: jobs, address } = await pusher(t)
  const failing = program(t, `
    import { pipe } from 'zeropipe'
    const { push, pull, ready } = pipe({ push: { connect: '${back}' }, pull: '${address}' })
    await ready({ pullers: 1 })
    for (let i = 0; i < 100; i++) await push(String(i))
    for await (const job of pull()) {
      Promise.reject(new Error('on purpose'))
      await new Promise(() => {})
    }
  `)
  await jobs.push('in hand')
  assert.deepEqual(texts(await take(results, 100)), numbers(100))
  const { code, signal, stderr } = await endedSoon(failing)
  assert.deepEqual([code, signal], [1, null])
  assert.match(stderr, /on purpose/)
  assert.doesNotMatch(stderr, /gave up/i)
  const other = open(t, { pull: address })
  const { value: again } = await other.pull({ info: true }).next()
  assert.deepEqual([String(again.job), again.attempt], ['in hand', 2])
})

test('an uncaught error in a timer is exit code 1, though jobs wait for a worker; how many were given up is said once', { timeout }, async t => {
  const failing = program(t, `
    import { push } from 'zeropipe'
    for (let i = 0; i < 4; i++) await push('nobody')
    setTimeout(() => { throw new Error('on purpose') }, 10)
  `, { env: { ZEROPIPE_ENDPOINT: ipcPlace() } })
  const { code, stderr } = await endedSoon(failing)
  assert.equal(code, 1)
  assert.match(stderr, /on purpose/)
  assert.equal(stderr.match(/gave up 4 accepted jobs/g)?.length, 1)
})

test('process.exitCode is kept, and what is queued is delivered first', { timeout }, async t => {
  const { pipe, address } = await puller(t)
  const pushing = program(t, `
    import { pipe } from 'zeropipe'
    const { push } = pipe({ push: { connect: '${address}' } })
    process.exitCode = 5
    for (let i = 0; i < 1000; i++) await push(String(i))
  `)
  assert.deepEqual(texts(await take(pipe, 1000)), numbers(1000))
  assert.deepEqual(await pushing.ended, { code: 5, signal: null, stdout: '', stderr: '' })
})

test('what linger gives up is a warning, on stderr and as an event, once each', { timeout }, async t => {
  const pushing = program(t, `
    import { pipe } from 'zeropipe'
    process.on('warning', ({ code, message }) => console.log(code, message))
    const { push } = pipe({ push: 'tcp://127.0.0.1:*', linger: 200 })
    for (let i = 0; i < 3; i++) await push('nobody')
  `)
  const { code, stdout, stderr } = await endedSoon(pushing)
  assert.equal(code, 0)
  assert.match(stdout, /^ZEROPIPE_GAVE_UP .*3 accepted jobs.*\n$/)
  assert.equal(stderr.match(/ZEROPIPE_GAVE_UP/g).length, 1)
})

test('top-level await of a loop ends with the pipe, and the process with it', { timeout }, async t => {
  const { address } = await pusher(t)
  const waiting = program(t, `
    import { pipe } from 'zeropipe'
    const { pull, ready, close } = pipe({ pull: '${address}' })
    await ready({ pushers: 1 })
    setTimeout(close, 50)
    for await (const job of pull()) console.log('a job')
    console.log('over')
  `)
  assert.deepEqual(await endedSoon(waiting), { code: 0, signal: null, stdout: 'over\n', stderr: '' })
})

test('a forked child works for its parent and ends with it', { timeout }, async t => {
  const parent = program(t, `
    import { fork } from 'node:child_process'
    import { fileURLToPath } from 'node:url'
    import { pipe } from 'zeropipe'
    if (process.argv[2] === undefined) {
      const own = pipe({ push: 'tcp://127.0.0.1:*' })
      await own.ready()
      const child = fork(fileURLToPath(import.meta.url), [own.stats().push.bound[0]])
      for (let i = 0; i < 100; i++) await own.push(String(i))
      await own.drain()
      child.send('enough')
      child.on('exit', code => console.log('child', code))
    } else {
      const own = pipe({ pull: process.argv[2] })
      process.on('message', () => { own.close(); process.disconnect() })
      let sum = 0
      for await (const [job] of own.pull()) sum += Number(job)
      console.log('sum', sum)
    }
  `)
  assert.deepEqual(await parent.ended, { code: 0, signal: null, stdout: 'sum 4950\nchild 0\n', stderr: '' })
})
