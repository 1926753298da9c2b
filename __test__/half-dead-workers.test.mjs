// Workers, and connections, that are there and do nothing.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { pusher } from './helpers/ends.mjs'
import { happening } from './helpers/happening.mjs'
import { program } from './helpers/program.mjs'
import { numbers } from './helpers/take.mjs'
import { until } from './helpers/until.mjs'
import { loop, worker } from './helpers/worker.mjs'

const limit = { timeout: 30_000 }
const heartbeat = { interval: 200, timeout: 600 }

/** Has a worker say when it is connected; `back` resolves when it is for the second time. */
const joins = "own.on('join', () => say('joined'))\n"
const back = worker => until(() => worker.lines.filter(line => line === 'joined').length === 2)

test('a worker process that is stopped: its jobs go to another after the timeout', limit, async t => {
  const { pipe, address } = await pusher(t, { heartbeat })
  for (const number of numbers(20)) await pipe.push(number)
  const stopped = worker(t, address, joins + loop("if (text === '5') await order('go')"), { heartbeat })
  await until(() => stopped.begun.length === 6 && pipe.stats().push.done === 5)
  const left = happening(pipe, 'leave')
  stopped.child.kill('SIGSTOP')
  const { code } = await left
  assert.equal(code, 'ERR_ZEROPIPE_TIMEOUT')
  const other = worker(t, address, loop(), { heartbeat })
  await pipe.drain()
  await until(() => other.finished.length === 15)
  assert.deepEqual(other.finished, numbers(20).slice(5))
  assert.deepEqual(other.begun[0], { ...stopped.begun[5], attempt: 2 })
  assert.equal(pipe.stats().push.done, 20)

  // When it goes on, it ends what it had begun with, and nothing else.
  stopped.child.kill('SIGCONT')
  await back(stopped)
  stopped.tell('go')
  await until(() => stopped.finished.length === 6)
  await pipe.push('later')
  await until(() => stopped.finished.length + other.finished.length === 22)
  await pipe.drain()
  assert.deepEqual(stopped.begun.map(({ text }) => text).filter(text => text !== 'later'), numbers(6))
  assert.equal(pipe.stats().push.done, 21)
})

test('a worker process that is stopped with many jobs before it drops what it had not begun with when it goes on', limit, async t => {
  const { pipe, address } = await pusher(t, { heartbeat })
  for (const number of numbers(200)) await pipe.push(number)
  const stopped = worker(t, address, joins + `
    for await (const informed of pull({ info: true, prefetch: 50 })) {
      const text = begin(informed)
      if (text === '5') await order('go')
      finish(text)
    }
  `, { heartbeat })
  await until(() => stopped.begun.length === 6 && pipe.stats().push.done === 5 && pipe.stats().push.inFlight === 51)
  const left = happening(pipe, 'leave')
  stopped.child.kill('SIGSTOP')
  await left
  const other = worker(t, address, loop("if (text === '199') await order('go')"), { heartbeat })
  await until(() => other.begun.length === 195)
  stopped.child.kill('SIGCONT')
  await back(stopped)
  stopped.tell('go')
  await until(() => stopped.finished.length >= 6)
  other.tell('go')
  await pipe.drain()
  await pipe.push('later')
  await until(() => [...stopped.finished, ...other.finished].includes('later'))
  const again = stopped.begun.map(({ text }) => text).filter(text => text !== 'later' && Number(text) > 5)
  assert.deepEqual(again, [], 'begun with though another had done them')
  await pipe.drain()
  assert.equal(pipe.stats().push.done, 201)
})

test('a worker whose JavaScript is busy for much longer than the heartbeat timeout keeps its job and its connection', limit, async t => {
  const { pipe, address } = await pusher(t, { heartbeat })
  const endings = []
  pipe.on('leave', event => endings.push(event))
  for (const number of numbers(10)) await pipe.push(number)
  const busy = worker(t, address, loop("if (text === '3') block(3000)"), { heartbeat })
  await until(() => busy.begun.length === 4)
  const other = worker(t, address, loop(), { heartbeat })
  await until(() => other.finished.length > 0)
  assert.ok(!busy.finished.includes('3'))
  await pipe.drain()
  // All but what had crossed to the busy thread before, which nobody can have back, went to the other. What a worker prints may come later than its ACK.
  await until(() => busy.finished.length + other.finished.length >= 10)
  const begun = [...busy.begun, ...other.begun]
  assert.deepEqual(begun.map(({ text }) => text).toSorted(), numbers(10))
  assert.deepEqual(begun.filter(({ attempt }) => attempt !== 1), [])
  assert.deepEqual([endings, pipe.stats().push.redelivered], [[], 0])
})

test('a pusher whose JavaScript is busy for much longer than the heartbeat timeout keeps its workers', limit, async t => {
  const busy = program(t, `
    import { pipe } from 'zeropipe'
    const jobs = pipe({ push: 'tcp://127.0.0.1:*', heartbeat: ${JSON.stringify(heartbeat)} })
    let left = 0
    jobs.on('leave', () => left++)
    await jobs.ready()
    console.log('at ' + jobs.stats().push.bound[0] + ';')
    await jobs.ready({ pullers: 1 })
    for (let i = 0; i < 10; i++) await jobs.push(String(i))
    console.log('pushed')
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 3000)
    await jobs.drain()
    console.log(jobs.stats().push.done, left)
  `)
  let stdout = ''
  busy.child.stdout.on('data', chunk => { stdout += chunk })
  await busy.said(';')
  const own = worker(t, /at (.*);/.exec(stdout)[1], loop(), { heartbeat })
  await until(() => own.finished.length === 10)
  const { code } = await busy.ended
  assert.equal(code, 0)
  assert.match(stdout, /^10 0$/m)
})

for (const [what, body] of [['hangs', 'block(1e9)'], ['waits for ever', 'await new Promise(() => setInterval(() => {}, 1000))']]) {
  test(`ackTimeout takes a job from a worker whose JavaScript ${what}`, limit, async t => {
    const { pipe, address } = await pusher(t, { heartbeat, ackTimeout: 1000 })
    for (const number of numbers(10)) await pipe.push(number)
    const hung = worker(t, address, loop(`if (text === '3') ${body}`), { heartbeat })
    await until(() => hung.begun.length === 4 && pipe.stats().push.done === 3)
    const other = worker(t, address, loop(), { heartbeat })
    await pipe.drain()
    await until(() => other.finished.length === 7)
    assert.deepEqual([...other.finished].sort(), numbers(10).slice(3))
    assert.deepEqual(other.begun.find(({ text }) => text === '3'), { ...hung.begun[3], attempt: 2 })
    // Its connection is as good as ever.
    assert.equal(pipe.stats().push.peers.length, 2)
    // A thread that hangs keeps what had crossed to it, which nobody can have back: that was taken from it as well.
    const taken = other.begun.filter(({ attempt }) => attempt === 2)
    assert.ok(taken.length === 1 || (what === 'hangs' && taken.length < 7))
    assert.deepEqual([pipe.stats().push.done, pipe.stats().push.redelivered], [10, taken.length])
  })
}

test('a late word after ackTimeout: the job is taken from the queue again if nobody else has begun with it', limit, async t => {
  const { pipe, address } = await pusher(t, { ackTimeout: 500 })
  await pipe.push('a')
  const slow = worker(t, address, loop("await order('go')"))
  await until(() => slow.begun.length === 1)
  await until(() => pipe.stats().push.queued === 1)
  slow.tell('go')
  await pipe.drain()
  await until(() => slow.finished.length === 1)
  const { done, queued, inFlight, redelivered } = pipe.stats().push
  assert.deepEqual({ done, queued, inFlight, redelivered }, { done: 1, queued: 0, inFlight: 0, redelivered: 0 })
  assert.equal(slow.begun.length, 1)
})

test('a late word after ackTimeout for a job that another has done means nothing', limit, async t => {
  const { pipe, address } = await pusher(t, { ackTimeout: 500 })
  await pipe.push('a')
  const slow = worker(t, address, loop("if (attempt === 1) await order('go')"), { identity: 'slow' })
  await until(() => slow.begun.length === 1)
  const other = worker(t, address, loop())
  await pipe.drain()
  await until(() => other.finished.length === 1)
  slow.tell('go')
  await until(() => slow.finished.length === 1)
  await pipe.push('b')
  await pipe.push('c')
  await pipe.drain()
  const { done, queued, inFlight, peers } = pipe.stats().push
  assert.deepEqual({ done, queued, inFlight }, { done: 3, queued: 0, inFlight: 0 })
  assert.equal(peers.length, 2)
})

/** A process that forwards connections to `address`; stopped, it is a cable that was cut. */
async function relay (t, address) {
  const { hostname, port } = new URL(address)
  const { child, said } = program(t, `
    import net from 'node:net'
    const server = net.createServer(socket => {
      const other = net.connect(${port}, '${hostname}')
      socket.on('error', () => other.destroy()).pipe(other).on('error', () => socket.destroy()).pipe(socket)
    })
    server.listen(0, '127.0.0.1', () => console.log('at ' + server.address().port + ';'))
  `)
  let stdout = ''
  child.stdout.on('data', chunk => { stdout += chunk })
  await said(';')
  return { address: `tcp://127.0.0.1:${/at (\d+);/.exec(stdout)[1]}`, child }
}

for (const forget of ['mended', 'gone for good']) {
  test(`a connection that is cut in the middle of jobs: they move after the timeout (${forget})`, limit, async t => {
    const { pipe, address } = await pusher(t, { heartbeat })
    const cable = await relay(t, address)
    for (const number of numbers(20)) await pipe.push(number)
    const far = worker(t, cable.address, `${joins}; own.on('leave', ({ code }) => say('left ' + code)); ${loop("if (text === '5') await order('go')")}`, { heartbeat })
    await until(() => far.begun.length === 6 && pipe.stats().push.done === 5)
    const left = happening(pipe, 'leave')
    cable.child.kill('SIGSTOP')
    const near = worker(t, address, loop(), { heartbeat })
    assert.equal((await left).code, 'ERR_ZEROPIPE_TIMEOUT')
    await far.heard('left ERR_ZEROPIPE_TIMEOUT')
    await pipe.drain()
    await until(() => near.finished.length === 15)
    assert.deepEqual([...near.finished].sort((a, b) => a - b), numbers(20).slice(5))
    assert.deepEqual(near.begun.find(({ text }) => text === '5'), { ...far.begun[5], attempt: 2 })

    if (forget === 'mended') {
      cable.child.kill('SIGCONT')
      await back(far)
    } else {
      const ended = once(cable.child, 'exit')
      cable.child.kill('SIGKILL')
      await ended
    }
    far.tell('go')
    await until(() => far.finished.length === 6)
    await pipe.push('later')
    await pipe.drain()
    assert.deepEqual(far.begun.map(({ text }) => text).filter(text => text !== 'later'), numbers(6))
    assert.equal(pipe.stats().push.done, 21)
  })
}
