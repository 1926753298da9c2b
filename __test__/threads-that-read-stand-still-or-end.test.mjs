// A thread that alone waits for what a connection brings reads it by itself (src/engine/tap.rs), past the I/O thread. Whatever happens
// meanwhile must be as if it did not.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { pusher, replier, requester } from './helpers/ends.mjs'
import { happening } from './helpers/happening.mjs'
import { open } from './helpers/open.mjs'
import { ipcPlace } from './helpers/place.mjs'
import { program } from './helpers/program.mjs'
import { asText } from './helpers/raw-requests.mjs'
import { limit, PLACES, index, WARM, echo, block, ask, isSettled, withProcess } from './helpers/reading.mjs'
import { numbers, texts } from './helpers/take.mjs'
import { until } from './helpers/until.mjs'
import { loop, worker } from './helpers/worker.mjs'

// A thread that does not look.

const heartbeat = { interval: 100, timeout: 300 }

test('a requester whose thread is blocked for longer than the heartbeat timeout stays connected', limit, async t => {
  const { near, far } = await withProcess(t, '', { options: { heartbeat }, theirs: { heartbeat } })
  const left = []
  near.on('leave', event => left.push(event))
  await ask(near)
  for (let round = 0; round < 3; round++) {
    block(1000)
    await ask(near)
  }
  const late = near.request('late')
  await setImmediate()
  block(1000)
  assert.deepEqual(texts([await late]), ['late'])
  await isSettled(near, 4 * WARM + 1)
  assert.deepEqual([left, far.lines.filter(line => line.startsWith('leave'))], [[], []])
})

test('a replier whose thread is blocked for longer than the heartbeat timeout stays connected', limit, async t => {
  const { near, far } = await withProcess(t, "if (text === 'block') block(1000)", { options: { heartbeat }, theirs: { heartbeat } })
  const left = []
  near.on('leave', event => left.push(event))
  for (let round = 0; round < 3; round++) {
    await ask(near)
    // The second waits behind the first; it is returned, and given again.
    const slow = [near.request('block'), near.request('behind')]
    assert.deepEqual(texts(await Promise.all(slow)), ['block', 'behind'])
  }
  await isSettled(near, 3 * WARM + 6)
  assert.deepEqual([left, far.lines.filter(line => line.startsWith('leave'))], [[], []])
})

test('a puller whose thread is blocked for longer than the heartbeat timeout stays connected, and is given the rest', limit, async t => {
  const { pipe: near, address } = await pusher(t, { heartbeat })
  const far = worker(t, address, `own.on('leave', ({ code }) => say('leave ' + code));${loop("if (text === '300' || text === '500') block(1000)")}`, { heartbeat })
  const left = []
  near.on('leave', event => left.push(event))
  for (const number of numbers(700)) {
    await near.push(number)
    if (number !== '300' && number !== '500') await near.drain()
  }
  await near.drain()
  await until(() => far.finished.length === 700)
  assert.deepEqual(far.finished, numbers(700))
  assert.deepEqual([left, far.lines.filter(line => line.startsWith('leave'))], [[], []])
})

// Processes that die.

for (const [name, place] of Object.entries(PLACES)) {
  test(`a replier that is killed between and within requests: another answers (${name})`, limit, async t => {
    const { pipe: near, address } = await requester(t, {}, place())
    const start = () => worker(t, address, "await reply(async job => { if (String(job[0]) === 'die') process.kill(process.pid, 'SIGKILL'); return job })", {}, 'reply')
    let done = 0
    for (let round = 0; round < 2; round++) {
      const first = start()
      await ask(near, WARM)
      done += WARM
      if (round % 2 === 0) {
        first.child.kill('SIGKILL')
        const asked = Promise.all([ask(near, 20), ask(near, 20)])
        await first.ended
        const second = start()
        await asked
        second.child.kill('SIGKILL')
        await second.ended
        done += 40
      } else {
        // Nobody is left: it goes to another, who dies of it too.
        const fatal = near.request('die', { timeout: 2000 })
        const others = ask(near, 20)
        await first.ended
        const [second, third] = [start(), start()]
        await assert.rejects(fatal)
        await Promise.all([second.ended, third.ended])
        const fourth = start()
        await others
        fourth.child.kill('SIGKILL')
        await fourth.ended
        done += 20
      }
    }
    await isSettled(near, done)
  })
}

test('a requester that is killed in the middle: the replier serves others', limit, async t => {
  const { pipe: far, address } = await replier(t)
  far.reply(echo)
  for (let round = 0; round < 2; round++) {
    const asking = worker(t, address, `
      for (let i = 0; ; i++) {
        if (String((await request(i))[0]) !== String(i)) say('wrong')
        if (i === 300) say('warm')
      }`, {}, 'request')
    await asking.heard('warm')
    asking.child.kill('SIGKILL')
    await asking.ended
    assert.ok(!asking.lines.includes('wrong'))
  }
  const near = open(t, { request: address })
  await ask(near)
  await until(() => far.stats().reply.peers.length === 1)
  await isSettled(near, WARM)
})

for (const [how, text] of [
  ['ends by itself', ''],
  ['closes', 'await close()'],
  ['closes without waiting', 'close()'],
  ['calls process.exit', 'process.exit(0)'],
  ['calls process.exit as soon as it can', 'setImmediate(() => process.exit(0))'],
  ['calls process.exit with others open', "for (let i = 0; i < 10; i++) request('x').catch(() => {}); setImmediate(() => process.exit(0))"]
]) {
  test(`a process that ${how} right after its last reply ends with 0, and says nothing`, limit, async t => {
    const { pipe: far, address } = await replier(t)
    far.reply(echo)
    for (let round = 0; round < 2; round++) {
      const { ended } = program(t, `
        import { pipe } from 'zeropipe'
        const { request, close } = pipe({ request: ${JSON.stringify(address)} })
        for (let i = 0; i < 300; i++) if (String((await request(i))[0]) !== String(i)) throw new Error('wrong')
        ${text}
      `)
      const { code, signal, stderr } = await ended
      assert.deepEqual({ code, signal, stderr }, { code: 0, signal: null, stderr: '' })
    }
    await until(() => far.stats().reply.peers.length === 0)
  })
}

test('a replier process that closes after its last reply ends by itself', limit, async t => {
  for (let round = 0; round < 2; round++) {
    const { near, far } = await withProcess(t, "if (text === 'close') close()")
    await ask(near)
    assert.deepEqual(texts([await near.request('close')]), ['close'])
    const { code, stderr } = await far.ended
    assert.deepEqual({ code, stderr }, { code: 0, stderr: '' })
    await isSettled(near, WARM + 1)
  }
})

// Threads.

test('threads that share the default pipe ask in turn and together', limit, async t => {
  const { ended } = program(t, `
    import { Worker, isMainThread, workerData } from 'node:worker_threads'
    import { fileURLToPath } from 'node:url'
    import { request, reply, close } from 'zeropipe'
    const ask = async (who, count) => {
      for (let i = 0; i < count; i++) {
        const [text] = await request(who + ' ' + i)
        if (String(text) !== who + ' ' + i) throw new Error('wrong: ' + text)
      }
    }
    if (isMainThread) {
      reply(job => job)
      await ask('main', 300)
      for (let round = 0; round < 4; round++) {
        const threads = [1, 2, 3].map(who => new Worker(fileURLToPath(import.meta.url), { workerData: { who } }))
        const ends = threads.map(thread => new Promise((resolve, reject) => { thread.on('exit', resolve); thread.on('error', reject) }))
        await ask('main', 300)
        for (const code of await Promise.all(ends)) if (code !== 0) throw new Error('ended with ' + code)
        await ask('main', 300)
      }
      await close()
      console.log('done')
    } else {
      await ask(workerData.who, 200)
    }
  `, { env: { ZEROPIPE_ENDPOINT: ipcPlace(), ZEROPIPE_REQUEST_ENDPOINT: ipcPlace() } })
  const { code, signal, stdout, stderr } = await ended
  assert.deepEqual({ code, signal, stdout, stderr }, { code: 0, signal: null, stdout: 'done\n', stderr: '' })
})

for (const [what, makeIt] of [
  ['with a pipe of their own', address => `const { request } = require('zeropipe').pipe({ request: ${address} })`],
  ['with the default pipe', () => "const { request } = require('zeropipe')"]
]) {
  test(`ten threads that are ended in the middle of their requests, ${what}: the process goes on and ends with 0`, { timeout: 120_000 }, async t => {
    const { pipe: far, address } = await replier(t)
    far.reply(echo)
    const text = makeIt(JSON.stringify(address)).replace("'zeropipe'", JSON.stringify(index))
    const { ended } = program(t, `
      import { Worker } from 'node:worker_threads'
      import { pipe, request } from 'zeropipe'
      const text = ${JSON.stringify(`
        const { parentPort } = require('node:worker_threads')
        ${text}
        ;(async () => {
          for (let i = 0; ; i++) {
            if (String((await request(i))[0]) !== String(i)) parentPort.postMessage('wrong')
            if (i === 100) parentPort.postMessage('warm')
          }
        })()
      `)}
      const own = pipe({ request: ${JSON.stringify(address)} })
      for (let round = 0; round < 10; round++) {
        const thread = new Worker(text, { eval: true })
        const said = await new Promise((resolve, reject) => { thread.once('message', resolve); thread.once('error', reject) })
        if (said !== 'warm') throw new Error(said)
        for (let turn = round % 7; turn > 0; turn--) await new Promise(resolve => setImmediate(resolve))
        await thread.terminate()
        for (const ask of [own.request, ...round % 5 === 0 ? [request] : []]) {
          for (let i = 0; i < 30; i++) if (String((await ask(i))[0]) !== String(i)) throw new Error('wrong')
        }
      }
      console.log('done')
    `, { env: { ZEROPIPE_REQUEST_ENDPOINT: address } })
    const { code, signal, stdout, stderr } = await ended
    assert.deepEqual({ code, signal, stdout, stderr }, { code: 0, signal: null, stdout: 'done\n', stderr: '' })
    const near = open(t, { request: address })
    await ask(near)
    await isSettled(near, WARM)
  })
}

test('eight threads that reply and are ended in the middle: every request is answered', { timeout: 120_000 }, async t => {
  const { pipe: near, address } = await requester(t)
  const { ended } = program(t, `
    import { Worker } from 'node:worker_threads'
    import 'zeropipe'
    const text = ${JSON.stringify(`
      const { parentPort } = require('node:worker_threads')
      let count = 0
      require(${JSON.stringify(index)}).pipe({ reply: { connect: ${JSON.stringify(address)} } }).reply(job => {
        if (++count === 150) parentPort.postMessage('warm')
        return job
      })
    `)}
    for (let round = 0; round < 8; round++) {
      const thread = new Worker(text, { eval: true })
      await new Promise((resolve, reject) => { thread.once('message', resolve); thread.once('error', reject) })
      await thread.terminate()
    }
    console.log('done')
  `)
  let isOver = false
  ended.then(() => { isOver = true })
  const leaving = new AbortController()
  let done = 0
  const asking = (async () => {
    while (!isOver) {
      const text = `request ${done}`
      const reply = await near.request(text, { signal: leaving.signal })
      assert.deepEqual(asText(reply), [text])
      done++
    }
  })()
  const { code, signal, stdout, stderr } = await ended
  leaving.abort(new Error('over'))
  await asking.catch(error => { if (error.message !== 'over') throw error })
  assert.deepEqual({ code, signal, stdout, stderr }, { code: 0, signal: null, stdout: 'done\n', stderr: '' })
  open(t, { reply: { connect: address } }).reply(echo)
  await ask(near)
  await isSettled(near, done + WARM)
})

test('a thread whose pull loop is ended in the middle of a ping-pong: every job is done by somebody', { timeout: 120_000 }, async t => {
  const { pipe: near, address } = await pusher(t)
  const crew = worker(t, address, `
    const { Worker } = await import('node:worker_threads')
    const text = ${JSON.stringify(`
      const { parentPort } = require('node:worker_threads')
      ;(async () => {
        let count = 0
        for await (const [text] of require(${JSON.stringify(index)}).pipe({ pull: ${JSON.stringify(address)} }).pull()) {
          parentPort.postMessage(String(text))
        }
      })()
    `)}
    for (let round = 0; round < 4; round++) {
      const thread = new Worker(text, { eval: true })
      let count = 0
      await new Promise((resolve, reject) => {
        thread.on('message', text => {
          finish(text)
          if (++count === 150) resolve()
        })
        thread.once('error', reject)
      })
      await thread.terminate()
    }
    say('done')
    ${loop()}
  `, { }, 'pull')
  let next = 0
  let isOver = false
  crew.heard('done').then(() => { isOver = true })
  while (!isOver) {
    // A thread may take a job and be ended before it can say so: then nobody waits for that one.
    await near.push(`job ${next++}`)
    await Promise.race([near.drain(), crew.heard('done')])
  }
  await near.drain()
  await near.push('last')
  await until(() => crew.finished.includes('last'))
  const { queued, inFlight, done, dead } = near.stats().push
  await near.drain()
  assert.deepEqual({ queued, dead }, { queued: 0, dead: 0 })
  assert.ok(done >= next && inFlight <= 1)
})

test('threads that use zeropipe one after the other, in a process whose main thread does not', limit, async t => {
  const { ended } = program(t, `
    import { Worker } from 'node:worker_threads'
    import { once } from 'node:events'
    for (let round = 0; round < 5; round++) {
      await once(new Worker(${JSON.stringify(`require(${JSON.stringify(index)}).stats()`)}, { eval: true }), 'exit')
    }
    console.log('done')
  `)
  const { code, signal, stdout, stderr } = await ended
  assert.deepEqual({ code, signal, stdout, stderr }, { code: 0, signal: null, stdout: 'done\n', stderr: '' })
})

test('threads that end themselves in a handler, and in a reply: others go on', { timeout: 120_000 }, async t => {
  const { pipe: near, address } = await requester(t)
  const { ended } = program(t, `
    import { Worker } from 'node:worker_threads'
    import { once } from 'node:events'
    import { pipe } from 'zeropipe'
    const back = pipe({ reply: { bind: 'tcp://127.0.0.1:*' } })
    await back.ready()
    back.reply(job => job)
    const replier = ${JSON.stringify(`
      let count = 0
      require(${JSON.stringify(index)}).pipe({ reply: { connect: ${JSON.stringify(address)} } }).reply(job => {
        if (++count === 150) process.exit()
        return job
      })
    `)}
    const requester = ${JSON.stringify(`
      const { workerData } = require('node:worker_threads')
      const { request } = require(${JSON.stringify(index)}).pipe({ request: workerData })
      ;(async () => {
        for (let i = 0; i < 150; i++) await request(i)
        process.exit()
      })()
    `)}
    for (let round = 0; round < 6; round++) {
      await once(new Worker(replier, { eval: true }), 'exit')
      await once(new Worker(requester, { eval: true, workerData: back.stats().reply.bound[0] }), 'exit')
    }
    await back.close()
    console.log('done')
  `)
  const leaving = new AbortController()
  const asking = (async () => {
    for (;;) await near.request('x', { signal: leaving.signal })
  })()
  const { code, signal, stdout, stderr } = await ended
  leaving.abort(new Error('over'))
  await assert.rejects(asking, /over/)
  assert.deepEqual({ code, signal, stdout, stderr }, { code: 0, signal: null, stdout: 'done\n', stderr: '' })
})

// What is left behind.

test('connections that were read by a thread leave no descriptor behind', { ...limit, skip: process.platform !== 'linux' }, async t => {
  const { readdirSync } = await import('node:fs')
  const descriptors = () => readdirSync('/proc/self/fd').length
  const { pipe: far, address } = await replier(t)
  far.reply(echo)
  const round = async () => {
    const near = open(t, { request: address })
    await ask(near, 100)
    await near.close()
    await until(() => far.stats().reply.peers.length === 0)
  }
  for (let count = 0; count < 3; count++) await round()
  const before = descriptors()
  for (let count = 0; count < 30; count++) await round()
  await until(() => descriptors() <= before + 2)
})

test('a replier that is stopped for longer than the heartbeat timeout, and continued: every request is answered', limit, async t => {
  const { pipe: near, address } = await requester(t, { heartbeat })
  const start = () => worker(t, address, 'await reply(job => job)', { heartbeat }, 'reply')
  const first = start()
  await ask(near)
  first.child.kill('SIGSTOP')
  const left = happening(near, 'leave')
  const asked = Promise.all([ask(near, 20), ask(near, 20)])
  assert.equal((await left).code, 'ERR_ZEROPIPE_TIMEOUT')
  const second = start()
  await asked
  await ask(near)
  const back = happening(near, 'join')
  first.child.kill('SIGCONT')
  await back
  await ask(near)
  second.child.kill('SIGKILL')
  await ask(near)
  await isSettled(near, 4 * WARM + 40)
})

test('a requester that is stopped for longer than the heartbeat timeout, and continued, gets all replies', limit, async t => {
  const { pipe: far, address } = await replier(t, { heartbeat })
  far.reply(echo)
  const asking = worker(t, address, `
    for (let i = 0; i < 3000; i++) {
      if (String((await request(i))[0]) !== String(i)) say('wrong')
      if (i === 300) say('warm')
    }
    say('all')`, { heartbeat }, 'request')
  await asking.heard('warm')
  const left = happening(far, 'leave')
  asking.child.kill('SIGSTOP')
  await left
  asking.child.kill('SIGCONT')
  await asking.heard('all')
  assert.ok(!asking.lines.includes('wrong'))
  assert.equal((await asking.ended).code, 0)
})

test('a handler that ends its process in the middle: another answers, at attempt 2', limit, async t => {
  const { pipe: near, address } = await requester(t)
  for (let round = 0; round < 2; round++) {
    const first = worker(t, address, "await reply((job, { attempt }) => { if (String(job[0]) === 'exit' && attempt === 1) process.exit(0); return [job[0], attempt] })", {}, 'reply')
    for (let count = 0; count < WARM; count++) assert.equal(String((await near.request(count))[0]), String(count))
    const asked = near.request('exit')
    const { code, stderr } = await first.ended
    assert.deepEqual({ code, stderr }, { code: 0, stderr: '' })
    const second = worker(t, address, 'await reply((job, { attempt }) => [job[0], attempt])', {}, 'reply')
    assert.deepEqual(asText(await asked), ['exit', '2'])
    second.child.kill('SIGKILL')
    await second.ended
  }
  await isSettled(near, 2 * (WARM + 1))
})

const standstill = (main, other) => `
  import { Worker, isMainThread, workerData } from 'node:worker_threads'
  import { fileURLToPath } from 'node:url'
  import { once } from 'node:events'
  import { request, pull, close } from 'zeropipe'
  const ask = async count => {
    for (let i = 0; i < count; i++) if (String((await request(i))[0]) !== String(i)) throw new Error('wrong')
  }
  const take = async (count, inTheLast = () => {}) => {
    for await (const job of pull()) {
      if (--count > 0) continue
      inTheLast()
      break
    }
  }
  if (isMainThread) {
    const words = new Int32Array(new SharedArrayBuffer(8))
    const thread = new Worker(fileURLToPath(import.meta.url), { workerData: words })
    const ended = once(thread, 'exit')
    await once(thread, 'online')
    const standStill = () => {
      Atomics.store(words, 0, 1)
      Atomics.notify(words, 0)
      if (Atomics.wait(words, 1, 0, 20_000) === 'timed-out') throw new Error('the other thread waits')
    }
    ${main}
    await ended
    await close()
    console.log('done')
  } else {
    Atomics.wait(workerData, 0, 0)
    ${other}
    Atomics.store(workerData, 1, 1)
    Atomics.notify(workerData, 1)
  }
`

test('a thread that stands still does not keep another from its replies', limit, async t => {
  const { pipe: far, address } = await replier(t)
  far.reply(echo)
  for (let round = 0; round < 3; round++) {
    const { ended } = program(t, standstill('await ask(300); standStill(); await ask(300)', 'await ask(300)'), { env: { ZEROPIPE_REQUEST_ENDPOINT: address } })
    const { code, signal, stdout, stderr } = await ended
    assert.deepEqual({ code, signal, stdout, stderr }, { code: 0, signal: null, stdout: 'done\n', stderr: '' })
  }
})

test('a thread that stands still in its loop does not keep another from its jobs', limit, async t => {
  const { pipe: near, address } = await pusher(t)
  for (let round = 0; round < 3; round++) {
    const { ended } = program(t, standstill('await take(300, standStill); await take(300)', 'await take(200)'), { env: { ZEROPIPE_ENDPOINT: address } })
    let isOver = false
    ended.then(() => { isOver = true })
    while (!isOver) {
      await near.push('job')
      await until(() => isOver || near.stats().push.queued === 0)
    }
    const { code, signal, stdout, stderr } = await ended
    assert.deepEqual({ code, signal, stdout, stderr }, { code: 0, signal: null, stdout: 'done\n', stderr: '' })
  }
})

for (const [name, place] of Object.entries(PLACES)) {
  for (const waits of [true, false]) {
    test(`pullers that are closed in a loop body, one after the other, ${waits ? 'which waits for that' : 'and the loop goes on'}: every job is done once, and in order (${name})`, limit, async t => {
      const { pipe: near, address } = await pusher(t, {}, place())
      const got = []
      let look = () => {}
      let isOver = false
      const pulling = (async () => {
        for (let round = 0; !isOver; round++) {
          const far = open(t, { pull: address })
          let count = 0
          let closed
          for await (const [text] of far.pull()) {
            got.push(Number(text))
            look()
            if (++count === 60 + round % 40 || Number(text) === 4999) closed = far.close()
            if (waits) await closed
          }
          await closed
          isOver = got.includes(4999)
        }
      })()
      for (let next = 0; next < 5000;) {
        const few = Math.min(next % 200 < 150 ? 1 : 1 + next % 7, 5000 - next)
        for (let count = few; count > 0; count--) await near.push(next++)
        const wanted = next
        await new Promise(resolve => {
          look = () => { if (got.length >= wanted) resolve() }
          look()
        })
      }
      await pulling
      await near.drain()
      assert.deepEqual(got, numbers(5000).map(Number))
      const { done, queued, inFlight, redelivered } = near.stats().push
      assert.deepEqual({ done, queued, inFlight, redelivered }, { done: 5000, queued: 0, inFlight: 0, redelivered: 0 })
    })
  }
}
