// What becomes of requests whose worker is gone, hangs, or is slow.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { requester } from './helpers/ends.mjs'
import { foreign } from './helpers/foreign.mjs'
import { gate } from './helpers/gate.mjs'
import { happening } from './helpers/happening.mjs'
import { open } from './helpers/open.mjs'
import { ipcPlace } from './helpers/place.mjs'
import { node, spinsAfterErrors } from './helpers/runtime.mjs'
import { numbers, texts } from './helpers/take.mjs'
import { until } from './helpers/until.mjs'
import { worker } from './helpers/worker.mjs'

const limit = { timeout: 60_000 }
const rep = fileURLToPath(new URL('zeromq/replier.mjs', import.meta.url))

/** A worker process whose handlers note what they begin and then do `body`, which may use `text`, `id` and `attempt`. */
const hand = (t, address, body = '', concurrency = 1) => worker(t, address, `
  await reply(async (job, info) => {
    const text = begin({ job, ...info })
    const { id, attempt } = info
    ${body}
    finish(text)
    return ['answer to ' + text, String(process.pid)]
  }, { concurrency: ${concurrency} })
`, {}, 'reply')
const answers = count => numbers(count).map(number => `answer to ${number}`)

for (const place of ['tcp://127.0.0.1:*', ipcPlace()]) {
  for (const concurrency of [1, 3]) {
    test(`a worker that is killed with ${concurrency} in hand: another answers them at attempt 2, with the same id (${place.slice(0, 3)})`, limit, async t => {
      const { pipe: near, address } = await requester(t, {}, place)
      const asked = numbers(20).map(number => near.request(number))
      const first = hand(t, address, 'if (Number(text) >= 5) await new Promise(() => {})', concurrency)
      await until(() => first.begun.length === 5 + concurrency)
      await Promise.all(asked.slice(0, 5))
      first.child.kill('SIGKILL')
      await first.ended
      const second = hand(t, address, '', concurrency)
      assert.deepEqual(texts(await Promise.all(asked)), answers(20))
      await until(() => second.finished.length === 15)
      assert.deepEqual(second.begun.map(({ text }) => text).sort((a, b) => a - b), numbers(20).slice(5))
      for (const { text, id } of first.begun.slice(5)) assert.deepEqual(second.begun.find(one => one.text === text), { text, id, attempt: 2 })
      const { done, dead } = near.stats().request
      assert.deepEqual([done, dead], [20, 0])
    })
  }
}

for (const [how, text] of [
  ['calls process.exit(0)', 'process.exit(0)'],
  ['throws where nobody catches it', "setImmediate(() => { throw new Error('on purpose') }); await new Promise(() => {})"],
  ['is killed', "process.kill(process.pid, 'SIGKILL'); block(1e9)"]
]) {
  test(`a worker that ${how} in a handler: the request is answered by another at attempt 2`, { ...limit, skip: how.startsWith('throws') && spinsAfterErrors }, async t => {
    const { pipe: near, address } = await requester(t)
    const asked = numbers(5).map(number => near.request(number))
    const first = hand(t, address, `if (text === '2') { await order('go'); ${text} }`)
    await until(() => first.begun.length === 3)
    await Promise.all(asked.slice(0, 2))
    first.tell('go')
    await first.ended
    const second = hand(t, address)
    assert.deepEqual(texts(await Promise.all(asked)), answers(5))
    await until(() => second.begun.length === 3) // its replies may be here before what it says
    assert.deepEqual(second.begun[0], { ...first.begun[2], attempt: 2 })
  })
}

test('a worker thread that ends in a handler: the request is answered by another at attempt 2', limit, async t => {
  const { pipe: near, address } = await requester(t, {}, ipcPlace())
  const asked = near.request('0')
  const first = worker(t, address, `
    const { Worker } = await import('node:worker_threads')
    const thread = new Worker(\`
      const { parentPort } = require('node:worker_threads')
      const { pipe } = require(\${JSON.stringify(${JSON.stringify(fileURLToPath(new URL('../index.js', import.meta.url)))})})
      pipe({ reply: { connect: \${JSON.stringify(${JSON.stringify(address)})} } }).reply(() => { parentPort.postMessage(''); return new Promise(() => {}) })
    \`, { eval: true })
    thread.once('message', async () => { await thread.terminate(); say('terminated') })
  `, {}, 'reply')
  await first.heard('terminated')
  const second = hand(t, address)
  assert.deepEqual(texts([await asked]), ['answer to 0'])
  await until(() => second.begun.length === 1)
  assert.equal(second.begun[0].attempt, 2)
})

for (const maxAttempts of [1, 2, 4]) {
  test(`a request that kills whoever gets it rejects after ${maxAttempts} attempts, and all others are answered`, limit, async t => {
    // With a single attempt those that died along with it would be lost too: so it goes alone.
    const { pipe: near, address } = await requester(t, { maxAttempts })
    let isOver = false
    const all = []
    const staff = async () => {
      while (!isOver) {
        const one = hand(t, address, "if (text === 'poison') { process.kill(process.pid, 'SIGKILL'); block(1e9) }", maxAttempts === 1 ? 1 : 2)
        all.push(one)
        await one.ended
      }
    }
    staff()
    const before = maxAttempts === 1 ? [] : numbers(50).map(number => near.request(number))
    const poison = near.request('poison')
    const behind = maxAttempts === 1 ? [] : numbers(50).map(number => near.request(number))
    await assert.rejects(poison, error => {
      assert.ok(error instanceof Error)
      assert.equal(error.code, 'ERR_ZEROPIPE_JOB_FAILED')
      assert.notEqual(error.message, '')
      return true
    })
    const results = await Promise.allSettled([...before, ...behind])
    if (maxAttempts === 4) assert.deepEqual(texts(results.map(({ value }) => value)), [...answers(50), ...answers(50)])
    const healthy = near.request('healthy')
    assert.deepEqual(texts([await healthy]), ['answer to healthy'])
    isOver = true
    const poisonings = () => all.flatMap(({ begun }) => begun).filter(({ text }) => text === 'poison')
    await until(() => poisonings().length >= maxAttempts)
    const poisoned = poisonings()
    assert.deepEqual(poisoned.map(({ attempt }) => attempt), Array.from({ length: maxAttempts }, (_, i) => i + 1))
    assert.equal(new Set(poisoned.map(({ id }) => id)).size, 1)
    const { dead, queued } = near.stats().request
    assert.equal(dead, 1 + results.filter(({ status }) => status === 'rejected').length)
    assert.equal(queued, 0)
  })
}

test('a worker that hangs longer than ackTimeout: another answers, and its own late answer disturbs nothing', limit, async t => {
  const { pipe: near, address } = await requester(t, { ackTimeout: 200 })
  const first = open(t, { reply: { connect: address } })
  const { open: letGo, passed } = gate()
  first.reply(async () => { await passed; return 'late' })
  await near.ready({ repliers: 1 })
  const asked = near.request('hangs')
  await until(() => near.stats().request.inFlight === 1)
  const attempts = []
  const second = open(t, { reply: { connect: address } })
  second.reply((job, { attempt }) => { attempts.push(attempt); return 'in time' })
  assert.deepEqual(texts([await asked]), ['in time'])
  assert.deepEqual(attempts, [2])
  letGo()
  assert.deepEqual(texts(await Promise.all(numbers(10).map(() => near.request('next')))).filter(text => text !== 'late' && text !== 'in time'), [])
  assert.equal(near.stats().request.done, 11)
})

test('a plain REP that dies with a request: it rejects with ERR_ZEROPIPE_TIMEOUT, and the next one is answered by another', limit, async t => {
  const { pipe: near, address } = await requester(t)
  const left = happening(near, 'leave')
  const first = foreign(t, node, [rep], { kind: 'REP', connect: address, dies: true })
  const asked = near.request('lost', { timeout: 3_000 })
  assert.deepEqual(await first.heard('request'), ['lost'])
  await left
  await assert.rejects(asked, { code: 'ERR_ZEROPIPE_TIMEOUT' })
  foreign(t, node, [rep], { kind: 'REP', connect: address, count: 1 })
  assert.deepEqual(texts([await near.request('next')]), ['next'])
  assert.deepEqual([near.stats().request.done, near.stats().request.queued], [1, 0])
})

test('a slow worker holds nothing but what its handlers have: a fast one answers all the rest meanwhile', limit, async t => {
  const { pipe: near, address } = await requester(t)
  const { open: letGo, passed } = gate()
  const slow = { begun: [] }
  open(t, { reply: { connect: address } }).reply(async ([number]) => {
    slow.begun.push(String(number))
    await passed
    return `slow ${number}`
  }, { concurrency: 2 })
  open(t, { reply: { connect: address } }).reply(async ([number]) => `fast ${number}`)
  await near.ready({ repliers: 2 })
  const asked = numbers(500).map(number => near.request(number))
  await until(() => slow.begun.length === 2)
  const rest = asked.filter((_, number) => !slow.begun.includes(String(number)))
  const got = texts(await Promise.all(rest))
  assert.ok(got.every(text => text.startsWith('fast ')))
  assert.equal(slow.begun.length, 2)
  letGo()
  assert.deepEqual(texts(await Promise.all(slow.begun.map(number => asked[number]))), slow.begun.map(number => `slow ${number}`))
})

test('requests that come one by one never wait behind a busy worker', limit, async t => {
  const { pipe: near, address } = await requester(t)
  const { open: letGo, passed } = gate()
  const begun = []
  const answer = who => async ([text]) => {
    if (String(text) !== 'long') return who
    begun.push(who)
    await passed
    return who
  }
  for (const who of ['a', 'b', 'c']) open(t, { reply: { connect: address } }).reply(answer(who))
  await near.ready({ repliers: 3 })
  const long = [near.request('long'), near.request('long')]
  await until(() => begun.length === 2)
  const [free] = ['a', 'b', 'c'].filter(who => !begun.includes(who))
  for (let i = 0; i < 100; i++) assert.equal(String(await near.request(i)), free)
  letGo()
  assert.deepEqual(texts(await Promise.all(long)).sort(), begun.toSorted())
})

test('a worker that is stopped is noticed by its silence, and another answers', limit, async t => {
  const { pipe: near, address } = await requester(t, { heartbeat: { interval: 100, timeout: 300 } })
  const first = hand(t, address, 'await new Promise(() => {})')
  const asked = near.request('0')
  await until(() => first.begun.length === 1)
  first.child.kill('SIGSTOP')
  const second = hand(t, address)
  assert.deepEqual(texts([await asked]), ['answer to 0'])
  await until(() => second.begun.length === 1)
  assert.equal(second.begun[0].attempt, 2)
  first.child.kill('SIGCONT')
  assert.deepEqual(texts([await near.request('1')]).length, 1)
})
