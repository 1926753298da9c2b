// A plain worker acknowledges nothing, and what its connection has taken may lie in the buffers of
// either system for long. A process that has pushed it waits until it was read, or says that it
// does not know.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { open } from './helpers/open.mjs'
import { program } from './helpers/program.mjs'
import { command, dial, job, listen, ping } from './helpers/raw-peer.mjs'
import { numbers } from './helpers/take.mjs'

const timeout = 30_000

/** More than a worker's system takes before the worker reads, less than both systems do. */
const JOBS = 100
const text = number => `${number} `.padEnd(1024, '.')

/** A worker that shakes hands and reads nothing, and a program that has pushed to it and does `then`. */
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
  await worker.handshake('PULL')
  worker.stall()
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

test('a process stays until a worker has read what it was sent, and says so after 3 s', { timeout }, async t => {
  const { worker, child, ended } = await stalled(t, '')
  assert.match(await waiting(child), /up to 100 messages .* to be read .* linger/)
  // Bytes that a process has not read when it ends make its system throw away what it has not sent.
  await worker.flush(ping(), ping())
  assert.deepEqual(await readAll(worker), numbers(JOBS).map(text))
  const { code, signal } = await ended
  assert.deepEqual([code, signal], [0, null])
})

test('close waits for that too', { timeout }, async t => {
  const { worker, child, ended } = await stalled(t, 'await close(); process.kill(process.pid, \'SIGKILL\')')
  await waiting(child)
  await worker.flush(ping(), ping())
  assert.deepEqual(await readAll(worker), numbers(JOBS).map(text))
  assert.equal((await ended).signal, 'SIGKILL')
})

test('linger bounds it, and what may be lost is counted', { timeout }, async t => {
  const thens = { 'linger: 200': '', 'heartbeat: {}': 'await close({ linger: 200 })' }
  for (const [options, then] of Object.entries(thens)) {
    const { ended } = await stalled(t, then, options)
    const { code, stderr } = await ended
    assert.equal(code, 0)
    assert.match(stderr, /ZEROPIPE_GAVE_UP.* up to 100 messages may be lost/)
    assert.equal(stderr.split('may be lost').length, 2)
  }
})

test('process.exit() waits for 2 s at most, and says what may be lost', { timeout }, async t => {
  const { ended } = await stalled(t, 'process.exit(5)')
  const { code, stderr } = await ended
  assert.equal(code, 5)
  assert.match(stderr, /^zeropipe: up to 100 messages may be lost \(.*, at exit\)/)
})

test('process.exit() waits until a worker that reads has read everything', { timeout }, async t => {
  const { worker, ended } = await stalled(t, 'process.exit()')
  await worker.flush(ping(), ping())
  assert.deepEqual(await readAll(worker), numbers(JOBS).map(text))
  assert.deepEqual(await ended, { code: 0, signal: null, stdout: 'drained\n', stderr: '' })
})

test('a worker that is lost with what it had not read is told of at the end', { timeout }, async t => {
  const { worker, child, ended } = await stalled(t, '')
  await waiting(child)
  worker.reset()
  const { code, stderr } = await ended
  assert.equal(code, 0)
  assert.match(stderr, /ZEROPIPE_GAVE_UP.* up to 100 messages may be lost/)
})

test('nobody waits for a worker that has shown that it has read everything', { timeout }, async t => {
  const listener = await listen(t)
  const pushing = open(t, {
    push: { connect: listener.address },
    heartbeat: { interval: 50, timeout: 10_000 }
  })
  const pushed = pushing.push('job')
  const worker = await listener.next()
  await worker.handshake('PULL')
  await pushed
  assert.deepEqual(await worker.nextJob(), ['job'])
  // The second PING shows that the answer to the first was read.
  for (let pings = 0; pings < 2; pings++) {
    const question = await worker.next()
    assert.match(question.body.toString('latin1'), /PING/)
    if (pings === 0) worker.send(command('PONG'))
  }
  worker.stall()
  await pushing.close()
})

test('a replier that closes waits, for a moment, until requesters have read their replies', { timeout }, async t => {
  const answering = program(t, `
    import { pipe } from 'zeropipe'
    const { reply, close, on } = pipe({ reply: { bind: 'tcp://127.0.0.1:*' } })
    on('listening', ({ address }) => console.log('at', address, '.'))
    let open = ${JOBS}
    await reply(([request]) => {
      if (--open === 0) {
        setImmediate(() => {
          console.log('closing')
          close().then(() => process.kill(process.pid, 'SIGKILL'))
        })
      }
      return request
    }, { concurrency: ${JOBS} })
  `)
  let printed = ''
  answering.child.stdout.on('data', text => { printed += text })
  await answering.said(' .')
  const requester = await dial(t, printed.split(' ')[1])
  await requester.handshake('DEALER')
  requester.stall()
  for (const number of numbers(JOBS)) requester.send(job(number, '', text(number)))
  await answering.said('closing')
  await requester.flush(ping(), ping())
  const replies = []
  for (let frames; (frames = await requester.nextJob()) !== undefined;) replies.push(frames[2])
  assert.deepEqual(replies.sort(), numbers(JOBS).map(text).sort())
  assert.equal((await answering.ended).signal, 'SIGKILL')
})
