// A plain worker acknowledges nothing: a job is delivered when its connection has taken it. It may lie in the
// buffers of this system then, which drops it if the worker says anything to a process that has ended. So whoever
// has pushed stays until it is sent, or says that it may be lost.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { platform } from 'node:process'
import { program } from './helpers/program.mjs'
import { listen, ping } from './helpers/raw-peer.mjs'
import { numbers } from './helpers/take.mjs'

// Other systems can't tell what they have sent.
const options = { timeout: 30_000, skip: platform !== 'linux' && 'Linux only' }

/** More than the system of a worker takes that reads nothing, less than both systems do. */
const JOBS = 2_000
const text = number => `${number} `.padEnd(1024, '.')

/** A worker that introduces itself and reads nothing, and a program that has pushed to it and does `then`. */
async function stalled (t, then, options = '') {
  const listener = await listen(t)
  const pushing = program(t, `
    import { pipe } from 'zeropipe'
    const { push, drain, close } = pipe({ push: { connect: '${listener.address}' }, ${options} })
    for (let i = 0; i < ${JOBS}; i++) push(\`\${i} \`.padEnd(1024, '.'))
    await drain()
    console.log('drained')
    ${then}
  `)
  const worker = await listener.next()
  worker.introduce('PULL')
  await pushing.said('drained')
  return { worker, ...pushing }
}

/** All jobs that the worker can read. */
async function readAll (worker) {
  const jobs = []
  for (let job; (job = await worker.nextJob()) !== undefined;) jobs.push(job[0])
  return jobs
}

/** Resolves with what a process says of its waiting. */
const waiting = ({ stderr }) => new Promise(resolve => {
  let told = ''
  stderr.on('data', said => {
    told += said
    if (told.includes('ZEROPIPE_WAITING') && told.includes('\n')) resolve(told)
  })
})

test('a process stays until all is sent to a worker that does not read, and says so after 3 s', options, async t => {
  const { worker, child, ended } = await stalled(t, '')
  assert.match(await waiting(child), /1 worker does not read what it was sent .* linger/)
  // A system drops what it has yet to send when a process ends with bytes unread.
  await worker.flush(ping(), ping())
  assert.deepEqual(await readAll(worker), numbers(JOBS).map(text))
  const { code, signal } = await ended
  assert.deepEqual([code, signal], [0, null])
})

test('close waits for that too', options, async t => {
  const { worker, child, ended } = await stalled(t, 'await close(); process.kill(process.pid, \'SIGKILL\')')
  await waiting(child)
  await worker.flush(ping(), ping())
  assert.deepEqual(await readAll(worker), numbers(JOBS).map(text))
  assert.equal((await ended).signal, 'SIGKILL')
})

test('linger bounds it, and that jobs may be lost is said once', options, async t => {
  const thens = { 'linger: 200': '', 'heartbeat: {}': 'await close({ linger: 200 })' }
  for (const [options, then] of Object.entries(thens)) {
    const { ended } = await stalled(t, then, options)
    const { code, stderr } = await ended
    assert.equal(code, 0)
    assert.match(stderr, /ZEROPIPE_GAVE_UP.* 1 worker took last may be lost/)
    assert.equal(stderr.split('may be lost').length, 2)
  }
})

test('process.exit() waits for 2 s at most, and says what may be lost', options, async t => {
  const { ended } = await stalled(t, 'process.exit(5)')
  const { code, stderr } = await ended
  assert.equal(code, 5)
  assert.match(stderr, /^zeropipe: some of what 1 worker took last may be lost \(.*, at exit\)/)
})

test('process.exit() waits until a worker that reads was sent everything', options, async t => {
  const { worker, ended } = await stalled(t, 'process.exit()')
  await worker.flush(ping(), ping())
  assert.deepEqual(await readAll(worker), numbers(JOBS).map(text))
  assert.deepEqual(await ended, { code: 0, signal: null, stdout: 'drained\n', stderr: '' })
})

test('nobody waits for a worker that was sent everything, though it reads nothing', options, async t => {
  const listener = await listen(t)
  const { ended, said } = program(t, `
    import { pipe } from 'zeropipe'
    const { push, close } = pipe({ push: { connect: '${listener.address}' } })
    await push('job')
    console.log('closing')
    await close()
  `)
  const worker = await listener.next()
  worker.introduce('PULL')
  await said('closing')
  const { code, stderr } = await ended
  assert.deepEqual([code, stderr], [0, ''])
  assert.deepEqual(await readAll(worker), ['job'])
})

test('jobs pushed while all is being sent go on as before', options, async t => {
  const { worker, child, ended } = await stalled(t, `
    process.once('beforeExit', () => push('the last'))
  `)
  await waiting(child)
  assert.deepEqual(await readAll(worker), [...numbers(JOBS).map(text), 'the last'])
  assert.equal((await ended).code, 0)
})
