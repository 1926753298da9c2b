// What becomes of requests whose time is over, that are aborted, or whose pipe is closed, at either end.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Worker } from 'node:worker_threads'
import { pipe as makePipe } from '../index.js'
import { replier, requester } from './helpers/ends.mjs'
import { gate } from './helpers/gate.mjs'
import { open } from './helpers/open.mjs'
import { abstractPlace, inprocPlace, ipcPlace } from './helpers/place.mjs'
import { program } from './helpers/program.mjs'
import { job, listen } from './helpers/raw-peer.mjs'
import { standing } from './helpers/settle.mjs'
import { numbers, texts } from './helpers/take.mjs'
import { until } from './helpers/until.mjs'
import { worker } from './helpers/worker.mjs'

const limit = { timeout: 30_000 }
const timedOut = { name: 'Error', code: 'ERR_ZEROPIPE_TIMEOUT' }
const closed = { name: 'Error', code: 'ERR_ZEROPIPE_CLOSED' }
const echo = job => job

/** A request end that listens where nobody comes. */
const alone = async (t, options) => await requester(t, options, ipcPlace())

/** A replier whose handlers wait until they are let go; `begun` has what they were given. */
async function held (t, { concurrency = 1, place = 'tcp://127.0.0.1:*', signal } = {}) {
  const { pipe: far, address } = await replier(t, {}, place)
  const begun = []
  const { open: letGo, passed } = gate()
  const handling = far.reply(async job => {
    begun.push(String(job[0]))
    await passed
    return job
  }, { concurrency, signal })
  handling.catch(() => {}) // whoever tests that awaits it
  return { far, address, begun, letGo, handling }
}

for (const timeout of [0, 0.5, 1, 30]) {
  test(`a timeout of ${timeout} ms rejects with ERR_ZEROPIPE_TIMEOUT, without a worker`, limit, async t => {
    const { pipe } = await alone(t)
    await assert.rejects(pipe.request('nobody', { timeout }), timedOut)
  })
}

test('a timeout rejects while the handler works', limit, async t => {
  const { address, begun, letGo } = await held(t)
  const near = open(t, { request: address })
  await assert.rejects(near.request('slow', { timeout: 200 }), timedOut)
  assert.deepEqual(begun, ['slow'])
  letGo()
  assert.deepEqual(texts([await near.request('next', { timeout: 20_000 })]), ['next'])
})

test('an answer in time is no timeout, however many there are', limit, async t => {
  const { pipe: far, address } = await replier(t)
  far.reply(echo, { concurrency: 5 })
  const near = open(t, { request: address })
  assert.deepEqual(texts(await Promise.all(numbers(1000).map(number => near.request(number, { timeout: 25_000 })))), numbers(1000))
})

test('a signal that is already aborted rejects with its reason, and nothing is sent', limit, async t => {
  const { address, begun } = await held(t)
  const near = open(t, { request: address })
  const reason = new Error('before')
  await assert.rejects(near.request('never', { signal: AbortSignal.abort(reason) }), error => error === reason)
  await assert.rejects(near.request('never', { signal: AbortSignal.abort() }), { name: 'AbortError' })
  near.request('sent').catch(() => {})
  await until(() => begun.length > 0)
  assert.deepEqual(begun, ['sent'])
})

test('an abort rejects with its reason while the end opens, while the request is on its way, and while the handler works', limit, async t => {
  const { address, begun, letGo } = await held(t, { concurrency: 3 })
  const near = open(t, { request: address })
  for (const when of ['opening', 'sent', 'begun']) {
    const controller = new AbortController()
    const reason = new Error(when)
    const asked = near.request(when, { signal: controller.signal })
    const rejected = assert.rejects(asked, error => error === reason)
    if (when !== 'opening') await standing(asked)
    if (when === 'begun') await until(() => begun.includes('begun'))
    controller.abort(reason)
    await rejected
  }
  letGo()
  assert.deepEqual(texts([await near.request('next')]), ['next'])
})

test('AbortSignal.timeout works as any other signal', limit, async t => {
  const { pipe } = await alone(t)
  await assert.rejects(pipe.request('nobody', { signal: AbortSignal.timeout(10) }), { name: 'TimeoutError' })
})

test('a signal may be shared by thousands of requests, all of which it rejects', limit, async t => {
  const { pipe } = await alone(t)
  const warnings = []
  const note = warning => warnings.push(warning)
  process.on('warning', note)
  t.after(() => process.off('warning', note))
  const controller = new AbortController()
  const all = numbers(5000).map(number => pipe.request(number, { signal: controller.signal, timeout: 60_000 }))
  const settled = Promise.allSettled(all)
  await standing()
  controller.abort('enough')
  assert.deepEqual(new Set((await settled).map(({ reason }) => reason)), new Set(['enough']))
  assert.deepEqual(warnings, [])
})

for (const [place, isTurned] of [[ipcPlace, false], [ipcPlace, true], [inprocPlace, false], [inprocPlace, true]]) {
  const who = `${place().split(':')[0]}, ${isTurned ? 'request binds' : 'reply binds'}`

  test(`what was given up before a worker came is handed to none: ${who}`, limit, async t => {
    const address = place()
    const near = open(t, { request: isTurned ? { bind: address } : address })
    const kept = near.request('kept 1')
    const controller = new AbortController()
    const given = [
      near.request('given up', { timeout: 20 }),
      near.request(Buffer.alloc(100_000, 'given up'), { timeout: 20 }),
      ...numbers(100).map(number => near.request(`given up ${number}`, { signal: controller.signal }))
    ]
    const alsoKept = near.request('kept 2')
    const refused = Promise.allSettled(given)
    await near.ready()
    await Promise.all(given.slice(0, 2).map(asked => assert.rejects(asked, timedOut)))
    controller.abort()
    await refused
    // Told to the engine at once, which another thread is.
    await until(() => near.stats().request.queued === 2)
    const seen = []
    const far = open(t, { reply: isTurned ? { connect: address } : address })
    far.reply(job => { seen.push(String(job[0])); return job })
    assert.deepEqual(texts(await Promise.all([kept, alsoKept])), ['kept 1', 'kept 2'])
    assert.deepEqual(texts([await near.request('last')]), ['last'])
    assert.deepEqual(seen, ['kept 1', 'kept 2', 'last'])
  })
}

test('stats say that nothing waits any more, in jobs and in bytes', limit, async t => {
  const { pipe } = await alone(t)
  const all = Promise.allSettled([1, 100, 70_000, 3].map(size => pipe.request(Buffer.alloc(size), { timeout: 500 })))
  await until(() => pipe.stats().request.queued === 4)
  await all
  await until(() => pipe.stats().request.queued === 0)
  assert.equal(pipe.stats().request.queuedBytes, 0)
})

test('what is given up in the tick in which it was made is not sent either', limit, async t => {
  const { pipe, address } = await alone(t)
  const controller = new AbortController()
  const asked = pipe.request('given up', { signal: controller.signal })
  controller.abort(new Error('at once'))
  await assert.rejects(asked, { message: 'at once' })
  await until(() => pipe.stats().request.queued === 0)
  const seen = []
  open(t, { reply: { connect: address } }).reply(job => { seen.push(String(job[0])); return job })
  await pipe.request('kept')
  assert.deepEqual(seen, ['kept'])
})

test('what is given up leaves room for others', limit, async t => {
  const { pipe, address } = await alone(t, { highWaterMark: { messages: 3 } })
  await Promise.all(numbers(3).map(() => assert.rejects(pipe.request('given up', { timeout: 20 }), timedOut)))
  await until(() => pipe.stats().request.queued === 0)
  const kept = numbers(3).map(number => pipe.request(number))
  await until(() => pipe.stats().request.queued === 3)
  open(t, { reply: { connect: address } }).reply(echo)
  assert.deepEqual(texts(await Promise.all(kept)), numbers(3))
})

for (const [how, refusal] of [['time out', () => ({ timeout: 30 })], ['are aborted', () => ({ signal: AbortSignal.timeout(30) })]]) {
  test(`with a full queue requests wait for room, and those that ${how} there are never sent`, limit, async t => {
    const { pipe, address } = await alone(t, { highWaterMark: { messages: 2 } })
    const kept = [pipe.request('kept 1'), pipe.request('kept 2')]
    const given = await Promise.allSettled(numbers(10).map(number => pipe.request(`given up ${number}`, refusal())))
    assert.ok(given.every(({ status }) => status === 'rejected'))
    kept.push(pipe.request('kept 3'))
    await standing(...kept)
    assert.equal(pipe.stats().request.queued, 2)
    const seen = []
    open(t, { reply: { connect: address } }).reply(job => { seen.push(String(job[0])); return job })
    assert.deepEqual(texts(await Promise.all(kept)), ['kept 1', 'kept 2', 'kept 3'])
    assert.deepEqual(seen, ['kept 1', 'kept 2', 'kept 3'])
  })
}

test('a late reply disturbs nothing', limit, async t => {
  const { address, begun, letGo } = await held(t, { concurrency: 5 })
  const near = open(t, { request: address })
  const given = numbers(3).map(number => near.request(`given up ${number}`, { timeout: 100 }))
  const kept = numbers(2).map(number => near.request(number))
  await Promise.all(given.map(asked => assert.rejects(asked, timedOut)))
  await until(() => begun.length === 5)
  letGo()
  assert.deepEqual(texts(await Promise.all(kept)), numbers(2))
  assert.deepEqual(texts(await Promise.all(numbers(100).map(number => near.request(number)))), numbers(100))
  assert.equal(near.stats().request.done, 102)
  await until(() => near.stats().request.inFlight === 0)
})

// The thread is busy while the replies come, all of them together; what it does before it looks at them is to give one up.
for (const [what, size] of [['small', 30], ['large', 200_000], ['many-framed', -5]]) {
  for (const which of [[0], [3], [9], [2, 3, 7], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]]) {
    test(`${what} replies that come together with those of given-up requests (${which}) reach whoever waits`, limit, async t => {
      const { pipe: near, address } = await requester(t, {}, abstractPlace())
      const body = number => size < 0 ? Array(-size).fill(`body ${number}`) : Buffer.alloc(size, String(number))
      const thread = new Worker(`
        const { pipe } = require(${JSON.stringify(new URL('../index.js', import.meta.url).pathname)})
        pipe({ reply: { connect: ${JSON.stringify(address)} } }).reply(job => job, { concurrency: 100 })
      `, { eval: true })
      t.after(() => thread.terminate())
      await near.ready({ repliers: 1 })
      const controllers = numbers(10).map(() => new AbortController())
      const asked = controllers.map(({ signal }, number) => near.request(body(number), { signal }))
      const settled = Promise.allSettled(asked)
      // Asked for stats, it hands over what is in the slab.
      while (near.stats().request.done < 10) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1)
      for (const number of which) controllers[number].abort(`given up ${number}`)
      const all = await settled
      all.forEach(({ status, value, reason }, number) => {
        if (which.includes(number)) assert.deepEqual([status, reason], ['rejected', `given up ${number}`])
        else assert.deepEqual(value, [body(number)].flat().map(frame => Buffer.from(frame)))
      })
      assert.deepEqual(texts([await near.request('next')]), ['next'])
    })
  }
}

test('what a worker dies with and nobody waits for is not given to another', limit, async t => {
  const { pipe: near, address } = await requester(t)
  const first = worker(t, address, 'await reply((job, info) => { begin({ job, ...info }); return new Promise(() => {}) }, { concurrency: 2 })', {}, 'reply')
  const controller = new AbortController()
  const given = near.request('given up', { signal: controller.signal })
  const kept = near.request('kept')
  await until(() => first.begun.length === 2)
  controller.abort()
  await assert.rejects(given)
  first.child.kill('SIGKILL')
  await first.ended
  const seen = []
  open(t, { reply: { connect: address } }).reply(job => { seen.push(String(job[0])); return job })
  assert.deepEqual(texts([await kept, await near.request('last')]), ['kept', 'last'])
  assert.deepEqual(seen, ['kept', 'last'])
})

test('a reply that nobody has asked for, or that comes twice, disturbs nothing', limit, async t => {
  const server = await listen(t)
  const near = open(t, { request: server.address })
  const first = near.request('one')
  const second = near.request('two')
  const peer = await server.next()
  await peer.handshake('ROUTER')
  const frames = []
  while (frames.length < 6) {
    const frame = await peer.next()
    if (!frame.command) frames.push(frame.body)
  }
  const [one, , , two] = frames
  peer.send(job(one, '', 'for one'), job(one, '', 'again'), job(Buffer.alloc(12, 1), '', 'for nobody'))
  assert.deepEqual(texts([await first]), ['for one'])
  peer.send(job(one, '', 'again'), job(two, '', 'for two'))
  assert.deepEqual(texts([await second]), ['for two'])
  assert.equal(near.stats().request.done, 2)
})

/** What a program has said once it has ended by itself. */
async function output (t, text, env = {}) {
  const { code, signal, stdout, stderr } = await program(t, text, { env: { ZEROPIPE_ENDPOINT: ipcPlace(), ...env } }).ended
  assert.deepEqual({ code, signal, stderr }, { code: 0, signal: null, stderr: '' })
  return stdout.trimEnd().split('\n')
}

for (const [how, call] of [
  ['has timed out', 'request(1, { timeout: 50 })'],
  ['was aborted', 'request(1, { signal: AbortSignal.timeout(50) })'],
  ['has timed out while the queue was full', "pipe({ request: { bind: 'tcp://127.0.0.1:*' }, highWaterMark: { messages: 1 } }).request(1, { timeout: 50 })"]
]) {
  test(`a process whose request ${how} ends by itself, without a warning, though no worker ever came`, limit, async t => {
    assert.deepEqual(await output(t, `
      import { request, pipe } from 'zeropipe'
      await ${call}.catch(({ name, code }) => console.log(name, typeof code))
    `), [how === 'was aborted' ? 'TimeoutError number' : 'Error string'])
  })
}

test('a process whose request timed out in the hands of a worker ends by itself', limit, async t => {
  const { address } = await held(t, { place: ipcPlace() })
  assert.deepEqual(await output(t, `
    import { request } from 'zeropipe'
    await request('slow', { timeout: 100 }).catch(({ code }) => console.log(code))
  `, { ZEROPIPE_ENDPOINT: address }), ['ERR_ZEROPIPE_TIMEOUT'])
})

test('an open request keeps the process alive, and when it is answered it ends', limit, async t => {
  const address = ipcPlace()
  const { ended, said } = program(t, `
    import { request } from 'zeropipe'
    request('a job').then(([reply]) => console.log('got ' + reply))
    console.log('asks')
  `, { env: { ZEROPIPE_ENDPOINT: address } })
  await said('asks')
  open(t, { reply: address }).reply(([job]) => `answer to ${job}`)
  assert.deepEqual(await ended, { code: 0, signal: null, stdout: 'asks\ngot answer to a job\n', stderr: '' })
})

test('a handler that waits for requests keeps the process alive', limit, async t => {
  const address = ipcPlace()
  const { ended, said } = program(t, `
    import { reply, close } from 'zeropipe'
    const handling = reply(([job]) => { if (String(job) === 'end') close(); return job })
    console.log('waits')
    await handling
    console.log('over')
  `, { env: { ZEROPIPE_ENDPOINT: address } })
  await said('waits')
  const near = open(t, { request: address })
  assert.deepEqual(texts([await near.request('one')]), ['one'])
  assert.deepEqual(texts([await near.request('end')]), ['end'])
  assert.deepEqual(await ended, { code: 0, signal: null, stdout: 'waits\nover\n', stderr: '' })
})

for (const linger of [0, 30]) {
  test(`close({ linger: ${linger} }) rejects what is open with ERR_ZEROPIPE_CLOSED, wherever it is`, limit, async t => {
    const { address, begun } = await held(t)
    const near = makePipe({ request: address, highWaterMark: { messages: 1 } })
    const asked = numbers(5).map(number => near.request(number))
    const refused = Promise.all(asked.map(one => assert.rejects(one, closed)))
    await until(() => begun.length === 1)
    assert.equal(await near.close({ linger }), undefined)
    await refused
    await assert.rejects(near.request('late'), closed)
  })
}

test('close() rejects what was asked where no end could open yet', limit, async () => {
  const near = makePipe({ request: ipcPlace() })
  const asked = near.request('early')
  const refused = assert.rejects(asked, closed)
  await near.close({ linger: 0 })
  await refused
})

test('close() lets those be answered that are answered in time, and later ones reject at once', limit, async t => {
  const { address, begun, letGo } = await held(t)
  const near = open(t, { request: address, highWaterMark: { messages: 2 } })
  const asked = numbers(10).map(number => near.request(number))
  await until(() => begun.length === 1)
  const closing = near.close()
  await assert.rejects(near.request('late'), closed)
  assert.deepEqual(await standing(closing, ...asked), Array(11).fill('pending'))
  letGo()
  assert.deepEqual(texts(await Promise.all(asked)), numbers(10))
  assert.equal(await closing, undefined)
})

test('close() waits no longer when the last open request is given up', limit, async t => {
  const { address, begun } = await held(t)
  const near = open(t, { request: address })
  const controller = new AbortController()
  const asked = [near.request(1, { signal: controller.signal }), near.request(2, { signal: controller.signal })]
  const refused = Promise.allSettled(asked)
  await until(() => begun.length === 1)
  const closing = near.close()
  assert.deepEqual(await standing(closing), ['pending'])
  controller.abort()
  await refused
  assert.equal(await closing, undefined)
})

for (const concurrency of [1, 3]) {
  test(`close() inside a handler: what it returns still arrives (concurrency ${concurrency})`, limit, async t => {
    const { pipe: far, address } = await replier(t)
    const handling = far.reply(async job => {
      await far.close()
      return job
    }, { concurrency })
    const near = open(t, { request: address })
    assert.deepEqual(texts([await near.request('last')]), ['last'])
    assert.equal(await handling, undefined)
  })

  test(`close() inside a handler of a pipe that asks itself: what it returns still arrives (concurrency ${concurrency})`, limit, async t => {
    const own = open(t, inprocPlace())
    const handling = own.reply(async job => {
      await own.close()
      return job
    }, { concurrency })
    assert.deepEqual(texts([await own.request('last')]), ['last'])
    assert.equal(await handling, undefined)
  })
}

for (const [how, code] of [['throws', 'E_PURPOSE'], ['returns no reply', 'ERR_ZEROPIPE_INVALID_JOB']]) {
  test(`close() inside a handler that ${how}: the error still arrives`, limit, async t => {
    const { pipe: far, address } = await replier(t)
    const handling = far.reply(async () => {
      await far.close()
      if (how === 'throws') throw Object.assign(new Error('on purpose'), { code: 'E_PURPOSE' })
    })
    const near = open(t, { request: address })
    await assert.rejects(near.request('last'), { code })
    assert.equal(await handling, undefined)
  })
}

for (const [size, name] of [[10, 'small'], [100_000, 'large'], [5 << 20, 'huge']]) {
  for (const how of ['closed', 'aborted']) {
    test(`a replier that is ${how} while handlers run: their ${name} replies still arrive, and nothing else is begun`, limit, async t => {
      const { pipe: near, address } = await requester(t)
      const far = open(t, { reply: { connect: address } })
      const controller = new AbortController()
      const { open: letGo, passed } = gate()
      const begun = []
      const handling = far.reply(async ([number]) => {
        begun.push(String(number))
        await passed
        return Buffer.alloc(size, number)
      }, { concurrency: 3, signal: controller.signal })
      const reason = new Error('enough')
      const over = how === 'closed' ? handling.then(value => assert.equal(value, undefined)) : assert.rejects(handling, error => error === reason)
      const asked = numbers(6).map(number => near.request(number))
      await until(() => begun.length === 3)
      if (how === 'closed') far.close()
      else controller.abort(reason)
      assert.deepEqual(await standing(handling), ['pending'])
      letGo()
      const replies = await Promise.all(asked.slice(0, 3))
      assert.ok(replies.every(([reply], number) => reply.equals(Buffer.alloc(size, String(number)))))
      await over
      assert.deepEqual(begun, numbers(3))
      // The others were given back, and go to whoever comes.
      open(t, { reply: { connect: address } }).reply(echo)
      assert.deepEqual(texts(await Promise.all(asked.slice(3))), numbers(6).slice(3))
    })

    test(`a process that ends when its ${how} replier is over has sent its ${name} replies before`, limit, async t => {
      const { pipe: near, address } = await requester(t)
      const { said, child, ended } = program(t, `
        import { pipe } from 'zeropipe'
        const own = pipe({ reply: { connect: '${address}' } })
        const controller = new AbortController()
        let letGo
        const passed = new Promise(resolve => { letGo = resolve })
        process.stdin.once('data', () => {
          ${how === 'closed' ? 'own.close()' : 'controller.abort()'}
          setImmediate(letGo)
          process.stdin.destroy()
        })
        let count = 0
        await own.reply(async ([number]) => {
          if (++count === 3) console.log('all')
          await passed
          return Buffer.alloc(${size}, number)
        }, { concurrency: 3, signal: controller.signal }).catch(() => {})
        process.exit()
      `)
      const asked = numbers(3).map(number => near.request(number))
      await said('all')
      child.stdin.write('go')
      const replies = await Promise.all(asked)
      assert.ok(replies.every(([reply], number) => reply.equals(Buffer.alloc(size, String(number)))))
      assert.deepEqual(await ended, { code: 0, signal: null, stdout: 'all\n', stderr: '' })
    })
  }
}

test('reply() that is aborted before it has begun rejects with the reason, and takes nothing', limit, async t => {
  const { pipe: far, address } = await replier(t)
  const reason = new Error('no')
  await assert.rejects(far.reply(() => assert.fail('called'), { signal: AbortSignal.abort(reason) }), error => error === reason)
  const near = open(t, { request: address })
  const asked = near.request('kept')
  assert.deepEqual(await standing(asked), ['pending'])
  far.reply(echo)
  assert.deepEqual(texts([await asked]), ['kept'])
})

test('reply() that is aborted while it waits rejects at once, and what comes later is for others', limit, async t => {
  const { pipe: far, address } = await replier(t)
  const controller = new AbortController()
  const handling = far.reply(() => assert.fail('called'), { signal: controller.signal })
  const near = open(t, { request: address })
  await near.ready({ repliers: 1 })
  await standing(handling)
  controller.abort('over')
  await assert.rejects(handling, error => error === 'over')
  const asked = near.request('kept')
  far.reply(echo)
  assert.deepEqual(texts([await asked]), ['kept'])
})

test('a default pipe that was closed asks and answers again', limit, async t => {
  assert.deepEqual(await output(t, `
    import { request, reply, close } from 'zeropipe'
    for (let round = 0; round < 3; round++) {
      const handling = reply(([job]) => job)
      console.log(String(await request(round)))
      await close()
      await handling
    }
  `), ['0', '1', '2'])
})

test('a thread that ends leaves its open requests to nobody', limit, async t => {
  const address = ipcPlace()
  const said = await output(t, `
    import { Worker, isMainThread } from 'node:worker_threads'
    import { request, reply, stats, ready, close } from 'zeropipe'
    if (isMainThread) {
      const kept = request('kept')
      const thread = new Worker(new URL(import.meta.url))
      while (stats().request.queued < 4) await new Promise(setImmediate)
      await thread.terminate()
      while (stats().request.queued > 1) await new Promise(resolve => setTimeout(resolve, 5))
      reply(([job]) => { console.log('begun ' + job); return job })
      console.log('got ' + await kept)
      await close()
    } else {
      for (const number of [1, 2, 3]) request(number)
    }
  `, { ZEROPIPE_ENDPOINT: address })
  assert.deepEqual(said, ['begun kept', 'got kept'])
})

test('a process whose requests nobody is there to answer says so once', limit, async t => {
  const { child, said } = program(t, `
    import { pipe } from 'zeropipe'
    process.on('warning', ({ code, message }) => console.log('warning', code, message))
    const one = pipe(${JSON.stringify(ipcPlace())})
    for (const text of ['a', 'b']) one.request(text)
  `)
  await said('warning ZEROPIPE_WAITING 2 requests waiting for a replier to connect')
  child.kill('SIGKILL')
})
