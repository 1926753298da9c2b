import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ipcPlace } from './helpers/place.mjs'
import { program } from './helpers/program.mjs'
import { endsNoBlockedThread } from './helpers/runtime.mjs'

const limit = { timeout: 15_000 }

const prelude = `
  import { once } from 'node:events'
  import { Worker, isMainThread, parentPort, workerData } from 'node:worker_threads'
  import { push, pull, drain, close, ready, stats, pipe } from 'zeropipe'
  const thread = role => new Worker(new URL(import.meta.url), { workerData: role })
  const message = async worker => (await once(worker, 'message'))[0]
`

/** Runs a program whose threads are told apart by \`workerData\`; what it printed, once it has ended well. */
async function output (t, text, env = {}) {
  const { ended } = program(t, prelude + text, { env: { ZEROPIPE_ENDPOINT: ipcPlace(), ...env } })
  const { code, signal, stdout, stderr } = await ended
  assert.deepEqual({ code, signal }, { code: 0, signal: null }, stderr)
  return stdout.trimEnd().split('\n')
}

test('one thread pushes, another pulls', limit, async t => {
  const said = await output(t, `
    if (isMainThread) {
      const puller = thread('pull')
      thread('push')
      console.log(await message(puller))
    } else if (workerData === 'push') {
      for (let i = 0; i < 1000; i++) await push(String(i))
    } else {
      const jobs = []
      for await (const [msg] of pull()) {
        jobs.push(Number(msg))
        if (jobs.length === 1000) break
      }
      parentPort.postMessage(jobs.every((job, i) => job === i))
    }
  `)
  assert.deepEqual(said, ['true'])
})

test('all threads push and pull through one pipe, each job goes to one loop', limit, async t => {
  const said = await output(t, `
    const count = 4000
    if (isMainThread) {
      const workers = [1, 2, 3].map(thread)
      const jobs = []
      const all = new Promise(resolve => {
        const take = job => { if (jobs.push(job) === 4 * count) resolve() }
        for (const worker of workers) worker.on('message', take)
        ;(async () => { for await (const [msg] of pull()) take(msg.toString()) })()
      })
      for (let i = 0; i < count; i++) await push('0:' + i)
      await all
      await drain() // the last of each loop is done when the loop asks for the next
      console.log(jobs.length, new Set(jobs).size, stats().push.peers.length, stats().push.done)
      await close()
    } else {
      const looping = (async () => { for await (const [msg] of pull()) parentPort.postMessage(msg.toString()) })()
      for (let i = 0; i < count; i++) await push(workerData + ':' + i)
      await looping // ends when the main thread closes the pipe
    }
  `)
  assert.deepEqual(said, ['16000 16000 1 16000'])
})

test('a thread that closes the pipe ends the loops of all', limit, async t => {
  const said = await output(t, `
    if (isMainThread) {
      const workers = ['a', 'b'].map(thread)
      const looping = (async () => { for await (const job of pull()) console.log('got', job) })()
      await Promise.all(workers.map(message))
      const ended = Promise.all(workers.map(message))
      await close()
      console.log(...(await ended).sort())
      await looping
      await push('opened again')
      for await (const [msg] of pull()) {
        console.log(msg.toString())
        break
      }
    } else {
      const iterator = pull()
      const next = iterator.next()
      await ready()
      parentPort.postMessage('waits')
      parentPort.postMessage(workerData + ' ' + (await next).done)
    }
  `)
  assert.deepEqual(said, ['a true b true', 'opened again'])
})

test('a thread that has not heard of the close yet loses no job', limit, async t => {
  const said = await output(t, `
    if (isMainThread) {
      const shared = new Int32Array(new SharedArrayBuffer(4))
      const worker = thread(shared)
      await message(worker)
      for await (const [msg] of pull()) {
        if (msg.toString() === 'early') break
      }
      await close()
      const pushed = message(worker)
      Atomics.store(shared, 0, 1)
      Atomics.notify(shared, 0)
      const outcome = await pushed
      if (outcome === 'accepted') for await (const [msg] of pull()) {
        console.log(msg.toString() === 'late')
        break
      }
      else console.log(outcome === 'ERR_ZEROPIPE_CLOSED')
    } else {
      await push('early')
      stats() // and so it is handed over; to drain would wait for the main thread's loop, and might hear of the close
      parentPort.postMessage('pushed')
      Atomics.wait(workerData, 0, 0) // deaf, until the main thread has closed
      parentPort.postMessage(await push('late').then(() => 'accepted', ({ code }) => code))
    }
  `)
  assert.deepEqual(said, ['true'])
})

for (const flow of ['on', 'off']) {
  for (const state of ['in a loop body', 'that blocks', 'that waits for a job']) {
    const inHand = state === 'that waits for a job' || flow === 'off' ? '' : ', and the one in hand comes again as an attempt'
    test(`a thread ${state} is terminated: the jobs it had not begun with go to another loop${inHand} (flow ${flow})`, { ...limit, skip: state === 'that blocks' && endsNoBlockedThread }, async t => {
      const said = await output(t, `
        const state = ${JSON.stringify(state)}
        const flow = ${JSON.stringify(flow)}
        if (isMainThread) {
          const count = 2000
          const push0 = async () => { for (let i = 0; i < count; i++) await push(String(i)) }
          if (state !== 'that waits for a job') await push0()
          const worker = thread('victim')
          const begun = await message(worker)
          await worker.terminate()
          if (state === 'that waits for a job') await push0()
          const finished = flow === 'on' ? begun.slice(0, -1) : begun
          const jobs = []
          const attempts = []
          for await (const { job: [msg], attempt } of pull({ info: true })) {
            jobs.push(Number(msg))
            if (begun.includes(Number(msg))) attempts.push(attempt)
            if (jobs.length + finished.length === count) break
          }
          await drain()
          jobs.push(...finished)
          console.log(begun.length, attempts.join(), stats().push.done, jobs.sort((a, b) => a - b).every((job, i) => job === i))
        } else if (state === 'that waits for a job') {
          const iterator = pull()
          iterator.next()
          await ready()
          setImmediate(() => parentPort.postMessage([]))
        } else {
          const begun = []
          for await (const [msg] of pull()) {
            begun.push(Number(msg))
            if (begun.length < 3) continue
            parentPort.postMessage(begun)
            if (state === 'that blocks') Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
            await new Promise(() => setInterval(() => {}, 1000))
          }
        }
      `, { ZEROPIPE_FLOW: flow })
      const begun = state === 'that waits for a job' ? 0 : 3
      assert.deepEqual(said, [`${begun} ${inHand === '' ? '' : '2'} 2000 true`])
    })
  }
}

test('threads with pipes of their own meet over inproc', limit, async t => {
  const said = await output(t, `
    if (isMainThread) {
      const jobs = pipe({ push: 'inproc://jobs', pull: { bind: 'inproc://results' } })
      await jobs.ready()
      const workers = [1, 2].map(thread)
      await jobs.ready({ pullers: 2, pushers: 2 })
      for (let i = 0; i < 1000; i++) await jobs.push([String(i), Buffer.alloc(i)])
      let sum = 0
      let left = 1000
      for await (const [size] of jobs.pull()) {
        sum += Number(size)
        if (--left === 0) break
      }
      console.log(sum)
      await Promise.all(workers.map(worker => worker.terminate()))
      await jobs.close()
    } else {
      const own = pipe({ pull: 'inproc://jobs', push: { connect: 'inproc://results' } })
      await own.ready()
      for await (const [number, bytes] of own.pull()) await own.push(bytes.length)
    }
  `)
  assert.deepEqual(said, [String(999 * 1000 / 2)])
})

test('a thread that ends after pushing leaves its jobs to the pipe', limit, async t => {
  const said = await output(t, `
    if (isMainThread) {
      await ready()
      const worker = thread('push')
      await once(worker, 'exit')
      let count = 0
      for await (const job of pull()) if (++count === 100) break
      console.log(count)
    } else {
      for (let i = 0; i < 100; i++) await push(String(i))
    }
  `)
  assert.deepEqual(said, ['100'])
})
