// Threads, modules and pipes that come and go in one process: what they take is given back.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ipcPlace } from './helpers/place.mjs'
import { program } from './helpers/program.mjs'
import { exposesCollector, isOneOfMany } from './helpers/runtime.mjs'

const timeout = 120_000

const threads = `
  import { once } from 'node:events'
  import { Worker, isMainThread, parentPort, workerData } from 'node:worker_threads'
  const thread = role => new Worker(new URL(import.meta.url), { workerData: role })
  const message = async worker => (await once(worker, 'message'))[0]
`

/** What a program printed that ended well and said nothing else. */
async function output (t, text, options) {
  const { code, signal, stdout, stderr } = await program(t, text, { env: { ZEROPIPE_ENDPOINT: ipcPlace() }, ...options }).ended
  assert.deepEqual({ code, signal, stderr }, { code: 0, signal: null, stderr: '' })
  return stdout.trimEnd().split('\n')
}

test('twenty threads push and pull on the default pipe', { timeout }, async t => {
  const said = await output(t, `${threads}
    import { push, pull, close, drain } from 'zeropipe'
    if (isMainThread) {
      const workers = Array.from({ length: 20 }, (_, number) => thread(number))
      const ended = Promise.all(workers.map(worker => once(worker, 'exit')))
      const jobs = []
      await new Promise(resolve => workers.forEach(worker => worker.on('message', job => { if (jobs.push(job) === 20 * 500) resolve() })))
      await drain()
      await close()
      await ended
      console.log(jobs.length, new Set(jobs).size)
    } else {
      const pulling = (async () => { for await (const [job] of pull()) parentPort.postMessage(String(job)) })()
      for (let i = 0; i < 500; i++) await push(workerData + ':' + i)
      await pulling
    }
  `)
  assert.deepEqual(said, ['10000 10000'])
})

test('threads that are terminated in the middle of a full queue: what was accepted is delivered, and others go on', { timeout }, async t => {
  const said = await output(t, `${threads}
    import { pipe } from 'zeropipe'
    if (isMainThread) {
      const { ready, pull, stats } = pipe({ pull: { bind: 'tcp://127.0.0.1:*' } })
      await ready()
      const address = stats().pull.bound[0]
      const pushers = Array.from({ length: 20 }, () => thread(address))
      // Each has taken as much as fits, and waits with the next.
      await Promise.all(pushers.map(message))
      await Promise.all(pushers.map(pusher => pusher.terminate()))
      const last = thread('last ' + address)
      const ended = once(last, 'exit')
      let [accepted, isLast] = [0, false]
      for await (const [job] of pull()) {
        accepted += String(job) === 'one of ten'
        isLast ||= String(job) === 'last'
        if (isLast && accepted === 200) break
      }
      await ended
      console.log('over')
    } else {
      const [address] = workerData.split(' ').reverse()
      const own = pipe({ push: { connect: address }, highWaterMark: { messages: 10 } })
      if (workerData.startsWith('last')) {
        await own.push('last')
      } else {
        for (let i = 0; i < 10; i++) await own.push('one of ten')
        const waits = Array.from({ length: 100 }, () => own.push('another'))
        parentPort.postMessage('full')
        await Promise.all(waits)
      }
    }
  `)
  assert.deepEqual(said, ['over'])
})

const many = isOneOfMany ? 50 : 200

test(`${many} threads load it, use it and end, one after the other, while the main thread never does`, { timeout }, async t => {
  const said = await output(t, `${threads}
    if (isMainThread) {
      for (let i = 0; i < ${many}; i++) {
        const worker = thread(i)
        const [said, [code]] = await Promise.all([message(worker), once(worker, 'exit')])
        if (said !== 'job ' + i || code !== 0) throw new Error(said + ' ' + code)
      }
      console.log('over')
    } else {
      const { pipe } = await import('zeropipe')
      const own = pipe({ push: 'inproc://place', pull: 'inproc://place' })
      const jobs = own.pull()
      await own.push('job ' + workerData)
      const { value: [job] } = await jobs.next()
      await jobs.return()
      await own.close()
      parentPort.postMessage(String(job))
    }
  `)
  assert.deepEqual(said, ['over'])
})

test('a module that is loaded again and again, as test runners do, shares one default pipe and works', { timeout }, async t => {
  const said = await output(t, `
    const loaded = []
    for (let i = 0; i < 100; i++) {
      for (const path of Object.keys(require.cache)) if (!path.endsWith('.node')) delete require.cache[path]
      loaded.push(require('zeropipe'))
    }
    const [first, last] = [loaded[0], loaded.at(-1)]
    ;(async () => {
      await first.push('from the first')
      for await (const [job] of last.pull()) {
        console.log(first === last, String(job))
        break
      }
      await first.close()
    })()
  `, { extension: 'cjs' })
  assert.deepEqual(said, ['false from the first'])
})

test('a module loads beside itself in contexts of their own', { timeout }, async t => {
  const said = await output(t, `
    const { createRequire } = require('node:module')
    const vm = require('node:vm')
    const outer = require('zeropipe')
    const context = vm.createContext({ console })
    ;(async () => {
      const own = outer.pipe({ push: 'inproc://context', pull: 'inproc://context' })
      const jobs = own.pull()
      // Bytes of another context are bytes.
      await own.push(vm.runInContext('new Uint8Array([104, 105])', context))
      console.log(String((await jobs.next()).value[0]))
      await jobs.return()
      await own.close()
    })()
  `, { extension: 'cjs' })
  assert.deepEqual(said, ['hi'])
})

test('await using closes a pipe at the end of its block', { timeout, skip: !hasUsing() && 'this runtime does not know await using' }, async t => {
  const said = await output(t, `
    import { pipe } from 'zeropipe'
    let kept
    {
      await using own = pipe({ push: 'inproc://using', pull: 'inproc://using' })
      kept = own
      await own.push('job')
      for await (const [job] of own.pull()) {
        console.log(String(job))
        break
      }
    }
    await kept.push('late').catch(error => console.log(error.code))
  `)
  assert.deepEqual(said, ['job', 'ERR_ZEROPIPE_CLOSED'])
})

test('a loop is ended by await using, too', { timeout, skip: !hasUsing() && 'this runtime does not know await using' }, async t => {
  const said = await output(t, `
    import { pipe } from 'zeropipe'
    await using own = pipe({ push: 'inproc://using', pull: 'inproc://using' })
    for (let i = 0; i < 3; i++) await own.push(String(i))
    {
      await using jobs = own.pull()
      console.log(String((await jobs.next()).value[0]))
    }
    for await (const [job] of own.pull()) {
      console.log(String(job))
      if (String(job) === '2') break
    }
  `)
  assert.deepEqual(said, ['0', '1', '2'])
})

test('pipes that were never used, and pipes that were closed, are garbage', { timeout }, async t => {
  const said = await output(t, `
    import { setTimeout as sleep } from 'node:timers/promises'
    import { pipe } from 'zeropipe'
    const held = []
    async function use (number) {
      const never = pipe({ push: 'inproc://never' + number })
      const closed = pipe({ push: 'inproc://closed' + number, pull: 'inproc://closed' + number })
      await closed.push(Buffer.alloc(100_000))
      for await (const job of closed.pull()) break
      await closed.close()
      held.push(new WeakRef(never), new WeakRef(closed))
    }
    for (let i = 0; i < 50; i++) await use(i)
    // A closed pipe is kept for a second more, should the process end just then.
    for (let left = 100; left > 0 && held.some(ref => ref.deref()); left--) {
      await sleep(50)
      globalThis.gc()
    }
    console.log(held.filter(ref => ref.deref()).length)
  `, { execArgv: exposesCollector })
  assert.deepEqual(said, ['0'])
})

test('a pipe that is open and that nobody holds any more delivers what it was given', { timeout }, async t => {
  const said = await output(t, `
    import { pipe } from 'zeropipe'
    const puller = pipe({ pull: { bind: 'tcp://127.0.0.1:*' } })
    await puller.ready()
    const connect = puller.stats().pull.bound[0]
    async function pushAndForget (number) {
      const { push } = pipe({ push: { connect } })
      await push(String(number))
    }
    for (let i = 0; i < 50; i++) {
      await pushAndForget(i)
      globalThis.gc()
    }
    const jobs = new Set()
    for await (const [job] of puller.pull()) if (jobs.add(String(job)).size === 50) break
    console.log(jobs.size)
  `, { execArgv: exposesCollector })
  assert.deepEqual(said, ['50'])
})

/** Whether this runtime knows the syntax, which Node 20 and 22 don't. */
function hasUsing () {
  try {
    // eslint-disable-next-line no-new-func -- the syntax of this file must be known everywhere
    return Boolean(Function('return async () => { await using nothing = null }'))
  } catch {
    return false
  }
}
