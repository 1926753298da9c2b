// What keeps a process alive while it runs, and what ends with close().
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pusher } from './helpers/ends.mjs'
import { open } from './helpers/open.mjs'
import { ipcPlace } from './helpers/place.mjs'
import { program } from './helpers/program.mjs'
import { numbers, take, texts } from './helpers/take.mjs'

const timeout = 30_000
const at = endpoint => ({ env: { ZEROPIPE_ENDPOINT: endpoint } })

test('a loop that waits keeps the process alive', { timeout }, async t => {
  const address = ipcPlace()
  const { ended } = program(t, `
    import { pull } from 'zeropipe'
    let count = 0
    for await (const [job] of pull()) {
      console.log('got ' + job)
      if (++count === 3) break
    }
  `, at(address))
  // The worker dials an address where nobody is; each pusher comes and goes.
  for (const job of numbers(3)) {
    const life = open(t, { push: { bind: address } })
    await life.push(job)
    await life.close()
  }
  assert.deepEqual(await ended, { code: 0, signal: null, stdout: 'got 0\ngot 1\ngot 2\n', stderr: '' })
})

test('top-level await of a job keeps the process alive', { timeout }, async t => {
  const address = ipcPlace()
  const { ended } = program(t, "import { pull } from 'zeropipe'; const { value: [job] } = await pull().next(); console.log(`${job}`)", at(address))
  const life = open(t, { push: { bind: address } })
  await life.push('a job')
  assert.deepEqual(await ended, { code: 0, signal: null, stdout: 'a job\n', stderr: '' })
})

test('a handler that waits keeps the process alive', { timeout }, async t => {
  const address = ipcPlace()
  const { ended } = program(t, "import { pull, close } from 'zeropipe'; await pull(async ([job]) => { console.log(`${job}`); close() }); console.log('end')", at(address))
  const life = open(t, { push: { bind: address } })
  await life.push('a job')
  assert.deepEqual(await ended, { code: 0, signal: null, stdout: 'a job\nend\n', stderr: '' })
})

test('ready(), drain(), close() and a push that waits keep the process alive until they settle', { timeout }, async t => {
  const address = ipcPlace()
  const { ended, said } = program(t, `
    import { pipe } from 'zeropipe'
    process.on('beforeExit', () => console.log('ran dry'))
    const one = pipe({ push: { connect: '${address}' }, highWaterMark: { messages: 1 } })
    console.log('waits')
    await one.ready({ pullers: 1 })
    console.log('ready')
    await one.push('first')
    await one.push('second')
    await one.drain()
    await one.close()
    console.log('closed')
    process.exit()
  `)
  await said('waits')
  const worker = open(t, { pull: { bind: address } })
  assert.deepEqual(texts(await take(worker, 2)), ['first', 'second'])
  assert.deepEqual(await ended, { code: 0, signal: null, stdout: 'waits\nready\nclosed\n', stderr: '' })
})

test('drain() that waits for a worker keeps the process alive', { timeout }, async t => {
  const address = ipcPlace()
  const { ended, said } = program(t, `
    import { push, drain } from 'zeropipe'
    process.on('beforeExit', () => console.log('ran dry'))
    await push('job')
    console.log('waits')
    await drain()
    process.exit()
  `, at(address))
  await said('waits')
  const worker = open(t, { pull: address })
  assert.deepEqual(texts(await take(worker, 1)), ['job'])
  assert.deepEqual(await ended, { code: 0, signal: null, stdout: 'waits\n', stderr: '' })
})

test('a SIGTERM handler that calls close() finishes the job in hand, repeats none, and the process ends with 0', { timeout }, async t => {
  const { pipe, address } = await pusher(t)
  for (const form of [
    'for await (const [job] of worker.pull()) await work(job)',
    'await worker.pull(([job]) => work(job))'
  ]) {
    const { child, ended, said } = program(t, `
      import { setTimeout as sleep } from 'node:timers/promises'
      import { pipe } from 'zeropipe'
      const worker = pipe({ pull: '${address}' })
      let isOver = false
      process.on('SIGTERM', () => { worker.close(); isOver = true })
      async function work (job) {
        console.log('begin ' + job)
        while (!isOver) await sleep(10)
        await sleep(50)
        console.log('end ' + job)
      }
      ${form}
      console.log('done')
    `)
    await pipe.push('job')
    await said('begin job')
    child.kill('SIGTERM')
    assert.deepEqual(await ended, { code: 0, signal: null, stdout: 'begin job\nend job\ndone\n', stderr: '' })
  }
})

test('after close() nothing is bound, nobody is connected, and the peer is told', { timeout }, async t => {
  const { pipe, address } = await pusher(t)
  const worker = open(t, { pull: address })
  await worker.ready({ pushers: 1 })
  const left = new Promise(resolve => worker.once('leave', resolve))
  await pipe.close()
  const { push } = pipe.stats()
  assert.deepEqual([push.bound, push.peers, push.queued], [[], [], 0])
  assert.equal((await left).end, 'pull')
  const next = open(t, { push: { bind: address } })
  await next.ready()
})
