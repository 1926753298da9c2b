// However a worker ends, what it had not finished is done by another, and what it had finished is not done again.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pusher } from './helpers/ends.mjs'
import { ipcPlace } from './helpers/place.mjs'
import { program } from './helpers/program.mjs'
import { endsNoBlockedThread, spinsAfterErrors } from './helpers/runtime.mjs'
import { numbers } from './helpers/take.mjs'
import { until } from './helpers/until.mjs'
import { loop, worker } from './helpers/worker.mjs'

const limit = { timeout: 30_000 }
const COUNT = 20

/** Runs a worker that gets to job 5 and does `text` there once it is told 'go', when all before it is known to be done. */
async function halfway (t, text, body = loop(`if (text === '5') { await order('go'); ${text} }`)) {
  const { pipe, address } = await pusher(t)
  for (const number of numbers(COUNT)) await pipe.push(number)
  const first = worker(t, address, body)
  await until(() => first.begun.length === 6 && pipe.stats().push.done === 5)
  first.tell('go')
  return { pipe, address, first }
}

/** Another worker does all the rest: what the first has left. */
async function takeOver (t, { pipe, address, first }) {
  const second = worker(t, address, loop())
  await pipe.drain()
  await until(() => second.finished.length + new Set(first.finished).size >= COUNT)
  assert.deepEqual([...first.finished, ...second.finished], numbers(COUNT))
  assert.equal(pipe.stats().push.done, COUNT)
  assert.equal(pipe.stats().push.queued + pipe.stats().push.inFlight, 0)
  return second.begun
}

for (const [how, text, end] of [
  ['is killed', "process.kill(process.pid, 'SIGKILL'); await new Promise(() => {})", { code: null, signal: 'SIGKILL' }],
  ['calls process.exit(0)', 'process.exit(0)', { code: 0, signal: null }],
  ['calls process.exit(1)', 'process.exit(1)', { code: 1, signal: null }],
  ['throws and nobody catches it', "throw new Error('on purpose')", { code: 1, signal: null }],
  ['aborts', 'process.abort()', { code: null, signal: 'SIGABRT' }],
  ['gets a SIGTERM that it has no handler for', "process.kill(process.pid, 'SIGTERM'); await new Promise(() => {})", { code: null, signal: 'SIGTERM' }]
]) {
  test(`a worker that ${how} in the body: the job in hand is attempt 2 of another, what was done is not repeated`, limit, async t => {
    const state = await halfway(t, text)
    const { code, signal } = await state.first.ended
    assert.deepEqual({ code, signal }, end)
    const begun = await takeOver(t, state)
    assert.deepEqual(begun[0], { ...state.first.begun[5], attempt: 2 })
    // Others may have been on their way to it, and it can't always say that it had not begun with them.
    assert.ok(begun.every(({ attempt }) => attempt <= 2))
  })

  test(`a worker that ${how} in a handler: the jobs in hand come again, what was done is not repeated`, { ...limit, skip: how.startsWith('throws') && spinsAfterErrors }, async t => {
    const state = await halfway(t, '', `
      await pull(async (job, info) => {
        const text = begin({ job, ...info })
        if (text === '5') {
          await order('go')
          ${text.replace('throw', 'await null; process.nextTick(() => { throw').replace(/(throw .*)$/, '$1 }); await new Promise(() => {})')}
        }
        finish(text)
      })
    `)
    await state.first.ended
    const begun = await takeOver(t, state)
    assert.deepEqual(begun[0], { ...state.first.begun[5], attempt: 2 })
  })
}

test('a worker with three handlers that is killed: the three jobs in hand come again, and no other', limit, async t => {
  const { pipe, address } = await pusher(t)
  for (const number of numbers(COUNT)) await pipe.push(number)
  const first = worker(t, address, `
    await pull(async (job, info) => {
      const text = begin({ job, ...info })
      if (Number(text) >= 10) await new Promise(() => {})
      finish(text)
    }, { concurrency: 3 })
  `)
  await until(() => first.begun.length === 13 && pipe.stats().push.done === 10)
  first.child.kill('SIGKILL')
  await first.ended
  const second = worker(t, address, loop())
  await pipe.drain()
  await until(() => second.finished.length === 10)
  assert.deepEqual(second.finished, numbers(COUNT).slice(10))
  const ids = new Map(first.begun.map(({ text, id }) => [text, id]))
  for (const { text, id, attempt } of second.begun.slice(0, 3)) assert.deepEqual([attempt, id], [2, ids.get(text)])
})

test('a worker that ends by itself after break has done the job in hand', limit, async t => {
  const state = await halfway(t, '', loop("if (text === '5') { await order('go'); finish(text); break }"))
  const { code, stderr } = await state.first.ended
  assert.deepEqual([code, stderr], [0, ''])
  const begun = await takeOver(t, state)
  assert.equal(begun[0].text, '6')
})

for (const [exit, isDone] of [[0, true], [1, false]]) {
  test(`process.exit(${exit}) right after break: the job in hand is ${isDone ? 'done' : 'given back'}`, limit, async t => {
    const state = await halfway(t, '', loop(`if (text === '5') { await order('go'); ${isDone ? 'finish(text)' : ''}; break }`) + `process.exit(${exit})`)
    assert.equal((await state.first.ended).code, exit)
    const begun = await takeOver(t, state)
    assert.equal(begun[0].text, isDone ? '6' : '5')
  })
}

for (const [form, body] of [
  ['loop', loop("if (text === '5') { await order('go'); await new Promise(resolve => setTimeout(resolve, 300)) }")],
  ['handler', `await pull(async (job, info) => {
    const text = begin({ job, ...info })
    if (text === '5') { await order('go'); await new Promise(resolve => setTimeout(resolve, 300)) }
    finish(text)
  })`]
]) {
  test(`SIGTERM and a handler that calls close(): the job in hand of a ${form} is finished, nothing is repeated, exit code 0`, limit, async t => {
    const { pipe, address } = await pusher(t)
    for (const number of numbers(COUNT)) await pipe.push(number)
    const first = worker(t, address, `process.once('SIGTERM', () => { say('closing'); close() }); ${body}; say('over')`)
    await until(() => first.begun.length === 6 && pipe.stats().push.done === 5)
    first.child.kill('SIGTERM')
    await first.heard('closing')
    const second = worker(t, address, loop())
    await until(() => second.finished.length === COUNT - 6)
    first.tell('go')
    const { code, signal, stderr } = await first.ended
    assert.deepEqual({ code, signal, stderr }, { code: 0, signal: null, stderr: '' })
    assert.ok(first.lines.includes('over'))
    await pipe.drain()
    assert.deepEqual(first.finished, numbers(6))
    assert.deepEqual(second.finished, numbers(COUNT).slice(6))
    assert.equal(pipe.stats().push.redelivered, 0)
    assert.ok(second.begun.every(({ attempt }) => attempt === 1))
  })
}

for (const at of [1, 7, 19]) {
  test(`three workers, one after the other, are killed at every ${at}. job: each repeats at most what was begun and not finished`, limit, async t => {
    const { pipe, address } = await pusher(t)
    for (const number of numbers(200)) await pipe.push(number)
    const dead = []
    for (let round = 0; round < 3; round++) {
      const victim = worker(t, address, 'let count = 0' + loop(`if (++count === ${at}) await new Promise(() => setInterval(() => {}, 1000, say('stays')))`))
      await victim.heard('stays')
      victim.child.kill('SIGKILL')
      await victim.ended
      dead.push(victim)
    }
    const last = worker(t, address, loop())
    await pipe.drain()
    const finished = () => new Set([...dead, last].flatMap(({ finished }) => finished))
    await until(() => finished().size === 200)
    const begun = [...dead, last].flatMap(({ begun }) => begun)
    // Each of the dead had one in hand, and may not have told of a few that it had just finished.
    const unacknowledged = dead.flatMap(({ begun }) => begun).length
    assert.ok(begun.length - 200 <= unacknowledged, `${begun.length} begun, of which ${unacknowledged} by those who died`)
    const ids = new Map()
    for (const { text, id } of begun) assert.equal(ids.get(text) ?? id, id, ids.set(text, id))
  })
}

const threads = [
  ['terminated in the body', 'await thread.terminate()', 'await new Promise(() => {})'],
  ['terminated while it blocks', 'await thread.terminate()', 'block(1e9)'],
  ['that throws in the body', '', "throw new Error('on purpose')"],
  ['that calls process.exit() in the body', '', 'process.exit()']
]
for (const own of ['a pipe of its own', 'the default pipe']) {
  for (const [what, outside, inside] of threads) {
    test(`a worker thread ${what}, with ${own}: its job is done by another thread, as attempt 2 with the same id`, { ...limit, skip: what.includes('blocks') && endsNoBlockedThread }, async t => {
      const address = ipcPlace()
      const { pipe } = await pusher(t, {}, address)
      for (const number of numbers(10)) await pipe.push(number)
      const { child, ended } = program(t, `
        import { Worker, isMainThread, parentPort } from 'node:worker_threads'
        import { ${own === 'the default pipe' ? 'pull, close' : 'pipe'} } from 'zeropipe'
        ${own === 'the default pipe' ? '' : `const { pull, close } = pipe({ pull: ${JSON.stringify(address)} })`}
        const block = ms => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
        if (isMainThread) {
          const thread = new Worker(new URL(import.meta.url))
          const exited = new Promise(resolve => thread.on('exit', resolve))
          thread.on('error', () => {})
          const first = []
          await new Promise(resolve => thread.on('message', message => { first.push(message); if (message.text === '5') resolve() }))
          ${outside}
          await exited
          const second = []
          for await (const { job, id, attempt } of pull({ info: true })) {
            second.push({ text: job[0].toString(), id, attempt })
            if (second.length === 10 - 5) break
          }
          console.log(JSON.stringify({ first, second }))
          await close()
        } else {
          for await (const { job, id, attempt } of pull({ info: true })) {
            parentPort.postMessage({ text: job[0].toString(), id, attempt })
            if (job[0].toString() === '5') { ${inside} }
          }
        }
      `, { env: { ZEROPIPE_ENDPOINT: address } })
      const { code, stdout, stderr } = await ended
      assert.equal(code, 0, stderr)
      assert.equal(child.exitCode, 0)
      const { first, second } = JSON.parse(stdout)
      await pipe.drain()
      assert.deepEqual(first.map(({ text }) => text), numbers(6))
      assert.deepEqual(second.map(({ text }) => text).sort(), numbers(10).slice(5))
      assert.deepEqual(second.find(({ text }) => text === '5'), { ...first[5], attempt: 2 })
    })
  }
}

test('a worker thread that ends after break has done its job, and keeps nothing', limit, async t => {
  const address = ipcPlace()
  const { pipe } = await pusher(t, {}, address)
  for (const number of numbers(10)) await pipe.push(number)
  const { ended } = program(t, `
    import { Worker, isMainThread } from 'node:worker_threads'
    import { pull, close } from 'zeropipe'
    const from = isMainThread ? 5 : 0
    if (isMainThread) await new Promise(resolve => new Worker(new URL(import.meta.url)).on('exit', resolve))
    let count = 0
    for await (const { job, attempt } of pull({ info: true })) {
      console.log(job[0].toString() + ':' + attempt)
      if (++count === 5) break
    }
    if (isMainThread) await close()
  `, { env: { ZEROPIPE_ENDPOINT: address } })
  const { code, stdout, stderr } = await ended
  assert.deepEqual([code, stderr], [0, ''])
  await pipe.drain()
  assert.deepEqual(stdout.trim().split('\n'), numbers(10).map(number => `${number}:1`))
  assert.equal(pipe.stats().push.redelivered, 0)
})
