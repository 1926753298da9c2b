// What has waited for 3 s and may do so for ever says so once: where, why, and how to hide that.
// An ordinary start, in whatever order, says nothing.
import assert from 'node:assert/strict'
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { open } from './helpers/open.mjs'
import { ipcPlace } from './helpers/place.mjs'
import { program } from './helpers/program.mjs'
import { listen } from './helpers/raw-peer.mjs'
import { relay } from './helpers/relay.mjs'
import { isDeno, isNode } from './helpers/runtime.mjs'

// The programs wait more than they work, so that many of them run at a time.
const limit = { timeout: 60_000 }
const together = { concurrency: 8 }

/**
 * How long anything may wait silently (`lib/watchdog.js`), when it must have said so, and after how
 * long it is clear that nothing is said, or no more.
 */
const PATIENCE = 3_000
const LATEST = 2 * PATIENCE
const SILENT = PATIENCE + 1_500
const MORE = 700

/** An address on which nobody listens. */
async function unused (t) {
  const listener = await listen(t)
  await listener.close()
  return listener.address
}

/** Prints each warning with its time; `since` is when waiting began. */
const prelude = `
  import { pipe, pull } from 'zeropipe'
  let since = performance.now()
  const passed = () => Math.round(performance.now() - since)
  process.on('warning', ({ code, message }) => console.log('warned ' + JSON.stringify({ code, message, after: passed() })))
  const warned = new Promise(resolve => process.once('warning', resolve))
  const sleep = ms => new Promise(resolve => setTimeout(resolve, ms))
  const end = async () => {
    await warned
    await sleep(${MORE})
    process.exit()
  }
`

/** What a program with that text has printed by way of `prelude`. */
function warnings (stdout) {
  return stdout.split('\n').filter(line => line.startsWith('warned ')).map(line => JSON.parse(line.slice('warned '.length)))
}

/** Runs a program to its end; what it said and printed. */
async function run (t, text, options) {
  const { code, signal, stdout, stderr } = await program(t, prelude + text, options).ended
  assert.deepEqual({ code, signal }, { code: 0, signal: null }, stderr)
  return { warned: warnings(stdout), stdout, stderr }
}

/** The only warning of a program, which came in time. */
function only (warned) {
  assert.equal(warned.length, 1, JSON.stringify(warned))
  const [{ code, message, after }] = warned
  assert.equal(code, 'ZEROPIPE_WAITING')
  assert.ok(after >= PATIENCE - 50 && after < LATEST, `warned after ${after} ms`)
  assert.match(message, /to hide this, .*--disable-warning/)
  return message
}

/** An address for which dialling fails as it is named. */
const places = {
  ECONNREFUSED: unused,
  ENOENT: async () => ipcPlace(),
  ENOTDIR: async () => `ipc://${process.execPath}/jobs`,
  ENOTFOUND: async () => 'tcp://no-such-host.invalid:7777'
}

/** What waits for peers at an address that it dials, by what it does there, and whom it waits for. */
const waiters = {
  'a loop': ['pull', 'pusher', 'own.pull().next()'],
  'a loop of batches': ['pull', 'pusher', 'own.pull({ batch: 10 }).next()'],
  'a pool of handlers': ['pull', 'pusher', 'own.pull(() => {}, { concurrency: 3 })'],
  'a replier': ['reply', 'requester', 'own.reply(() => {})'],
  'a requester': ['request', 'replier', "own.request('anybody?').catch(() => {})"],
  'a push': ['push', 'worker', "own.push('job'); setInterval(() => {}, 1_000)"],
  'a push with which a process ends': ['push', 'worker', "own.push('job')"],
  'a push at a full queue': ['push', 'worker', "own.push('job'); own.push('another').catch(() => {})"],
  ready: ['pull', 'pusher', 'own.ready({ pushers: 1 }).catch(() => {})']
}

describe('what reaches nobody', together, () => {
  const cases = [
    ...Object.keys(waiters).map(waiter => [waiter, 'ECONNREFUSED']),
    ...['ENOENT', 'ENOTDIR', 'ENOTFOUND'].map(reason => ['a loop', reason])
  ]
  for (const [waiter, reason] of cases) {
    test(`${waiter} says so after 3 s, with ${reason} and where`, { ...limit, skip: process.platform === 'win32' && reason !== 'ECONNREFUSED' && 'other codes' }, async t => {
      const address = await places[reason](t)
      const [end, peer, text] = waiters[waiter]
      const { warned } = await run(t, `
        const own = pipe({ ${end}: { connect: '${address}' }, highWaterMark: { messages: 1 } })
        const told = []
        own.on('unreachable', event => told.push(event))
        own.on('refused', event => console.log('refused', event))
        ${text}
        await warned
        await sleep(${MORE})
        if (told.length !== 1 || told[0].end !== '${end}' || told[0].code !== '${reason}' || told[0].address !== '${address}') throw told
        process.exit()
      `)
      const message = only(warned)
      for (const part of [peer, `${address} (${reason})`]) assert.ok(message.includes(part), `"${message}" has "${part}"`)
    })
  }

  const cannot = process.platform === 'win32' ? 'there is no ipc' : isDeno && 'Deno can not give up the rights of root'
  test('a loop that may not open its ipc path says so', { ...limit, skip: cannot }, async t => {
    const folder = mkdtempSync(join(tmpdir(), 'zeropipe-closed-'))
    t.after(() => rmSync(folder, { recursive: true }))
    chmodSync(folder, 0)
    const { warned } = await run(t, `
      // Loaded, as nobody else may be allowed to read the package.
      await pipe('inproc://any').ready()
      // Root may open everything.
      if (process.getuid() === 0) process.setuid(65_534)
      pipe({ pull: 'ipc://${folder}/jobs' }).pull().next()
      await end()
    `)
    assert.ok(only(warned).includes(`ipc://${folder}/jobs (EACCES)`))
  })

  test('a loop of the default pipe says so', limit, async t => {
    const address = await unused(t)
    const { warned, stderr } = await run(t, 'pull().next(); await end()', { env: { ZEROPIPE_ENDPOINT: address } })
    assert.ok(only(warned).includes(`${address} (ECONNREFUSED)`))
    assert.ok(stderr.includes('ZEROPIPE_WAITING'))
  })

  test('a loop whose address belongs to something else says what that is', limit, async t => {
    const server = createServer(socket => socket.on('error', () => {}).end('220 mail.example ESMTP\r\n'.repeat(10)))
    await new Promise(resolve => server.listen(0, '127.0.0.1', resolve))
    t.after(() => server.close())
    const { warned } = await run(t, `
      pipe({ pull: 'tcp://127.0.0.1:${server.address().port}' }).pull().next()
      await end()
    `)
    assert.match(only(warned), /ERR_ZEROPIPE_NOT_ZMTP/)
  })

  test('of several addresses each is told with its reason', limit, async t => {
    const [first, second] = [await unused(t), 'tcp://no-such-host.invalid:7777']
    const { warned } = await run(t, `
      pipe({ pull: { connect: ['${first}', '${second}'] } }).pull().next()
      await end()
    `)
    const message = only(warned)
    assert.ok(message.includes(`${first}: ECONNREFUSED`) && message.includes(`${second}: ENOTFOUND`), message)
  })

  test('loops and pipes at one address say it once, at another again', limit, async t => {
    const [first, second] = [await unused(t), await unused(t)]
    const { warned } = await run(t, `
      for (const address of ['${first}', '${first}', '${second}']) {
        const own = pipe({ pull: address })
        for (let i = 0; i < 3; i++) own.pull().next()
      }
      await end()
    `)
    assert.deepEqual(warned.map(({ message }) => [first, second].findIndex(address => message.includes(address))).sort(), [0, 1])
  })

  test('threads that share the default pipe say it once', limit, async t => {
    const { warned, stderr } = await run(t, `
      import { Worker, isMainThread } from 'node:worker_threads'
      if (isMainThread) for (let i = 0; i < 3; i++) new Worker(new URL(import.meta.url))
      pull().next()
      await sleep(${LATEST})
      process.exit()
    `, { env: { ZEROPIPE_ENDPOINT: await unused(t) } })
    assert.equal(warned.length, 1)
    assert.equal(stderr.split('ZEROPIPE_WAITING').length, 2, stderr)
  })

  const hides = isNode ? false : 'an option of Node'
  test('--disable-warning hides it', { ...limit, skip: hides }, async t => {
    const { stdout, stderr } = await run(t, `
      process.removeAllListeners('warning')
      pipe({ pull: '${await unused(t)}' }).pull().next()
      await sleep(${SILENT})
      console.log('over')
      process.exit()
    `, { execArgv: ['--disable-warning=ZEROPIPE_WAITING'] })
    assert.deepEqual([stdout, stderr], ['over\n', ''])
  })

  test('a loop that ends, a pipe that closes and a request that lapses are not waited for', limit, async t => {
    const { warned, stdout } = await run(t, `
      process.on('exit', () => console.log('ended after ' + passed()))
      const address = '${await unused(t)}'
      const left = pipe({ pull: address })
      const loop = left.pull()
      loop.next()
      await sleep(100)
      await loop.return()
      const closed = pipe({ pull: address, push: { connect: address }, linger: 0 })
      closed.pull().next()
      closed.push('job')
      await sleep(100)
      await closed.close()
      await pipe({ request: address }).request('?', { timeout: 100 }).catch(() => {})
    `)
    assert.ok(warned.every(({ code }) => code === 'ZEROPIPE_GAVE_UP'), JSON.stringify(warned))
    assert.ok(Number(stdout.match(/ended after (\d+)/)[1]) < PATIENCE)
  })
})

describe('a queue that stays full', together, () => {
  test('without workers says so, and where it listens', limit, async t => {
    const { warned } = await run(t, `
      const own = pipe({ push: 'tcp://127.0.0.1:*', highWaterMark: { messages: 2 } })
      for (let i = 0; i < 5; i++) own.push('job').catch(() => {})
      await end()
    `)
    assert.match(only(warned), /5 jobs waiting for a worker.* at tcp:\/\/127\.0\.0\.1:\d+/)
  })

  test('because a worker is connected and does not pull says so', limit, async t => {
    const { warned } = await run(t, `
      const own = pipe({ push: 'tcp://127.0.0.1:*', highWaterMark: { messages: 1 } })
      await own.ready()
      const worker = pipe({ pull: own.stats().push.bound[0] })
      await worker.ready({ pushers: 1 })
      since = performance.now()
      own.push('job'); own.push('another')
      await end()
    `)
    assert.match(only(warned), /push waits for room.*a worker has to pull/)
  })

  test('in a circle of two processes is said by those who wait, with the cure', limit, async t => {
    const [there, back] = [ipcPlace(), ipcPlace()]
    /** Makes fifty jobs of each that it gets. */
    const stage = (from, to) => `
      const input = pipe({ pull: ${from} }), output = pipe({ push: ${to}, highWaterMark: { messages: 1 } })
      const work = (async () => {
        for await (const [job] of input.pull()) for (let i = 0; i < 50; i++) await output.push(job)
      })()
      setTimeout(() => process.exit(), ${LATEST})
    `
    const ended = await Promise.all([
      run(t, stage(`{ bind: '${back}' }`, `{ bind: '${there}' }`) + `
        for (let i = 0; i < 5; i++) output.push('go').catch(() => {})
      `),
      run(t, stage(`{ connect: '${there}' }`, `{ connect: '${back}' }`))
    ])
    for (const { warned } of ended) {
      assert.equal(warned.length, 1, JSON.stringify(warned))
      assert.match(warned[0].message, /push waits for room.*each waits for the other; raise highWaterMark/)
    }
  })

  test('while a large job is on a slow line says nothing', limit, async t => {
    const worker = open(t, { pull: { bind: 'tcp://127.0.0.1:*' } })
    await worker.ready()
    const line = await relay(t, worker.stats().pull.bound[0], 2 << 20)
    const loop = worker.pull()
    const first = loop.next()
    const { warned } = await run(t, `
      const own = pipe({ push: { connect: '${line.address}' }, highWaterMark: { messages: 1 }, linger: 0 })
      await own.ready({ pullers: 1 })
      for (let i = 0; i < 3; i++) own.push(new Uint8Array(24 << 20)).catch(() => {})
      await sleep(${SILENT})
      process.exit()
    `)
    assert.deepEqual(warned, [])
    await loop.return()
    await first
  })
})

describe('an ordinary start says nothing', together, () => {
  const worker = address => `
    const own = pipe({ pull: '${address}' })
    for await (const [job] of own.pull()) {
      console.log(String(job))
      if (String(job) === 'last') break
    }
    await own.close()
  `
  const pusher = address => `
    const own = pipe({ push: '${address}', highWaterMark: { messages: 1 } })
    await own.push('first')
    await own.push('second')
    // It waits longer than the patience, beside a peer.
    await sleep(${SILENT})
    await own.push('last')
  `
  const orders = { 'the worker first': [worker, pusher], 'the pusher first': [pusher, worker] }
  for (const [order, [first, second]] of Object.entries(orders)) {
    test(order, limit, async t => {
      const address = ipcPlace()
      const both = [run(t, first(address))]
      await new Promise(resolve => setTimeout(resolve, PATIENCE / 2))
      both.push(run(t, second(address)))
      for (const { warned, stderr } of await Promise.all(both)) assert.deepEqual([warned, stderr], [[], ''])
    })
  }

  test('a loop or a replier to which others connect', limit, async t => {
    const { warned } = await run(t, `
      const own = pipe({ pull: { bind: 'tcp://127.0.0.1:*' }, reply: { bind: 'tcp://127.0.0.1:*' } })
      own.pull().next()
      own.reply(() => {})
      await sleep(${SILENT})
      process.exit()
    `)
    assert.deepEqual(warned, [])
  })

  test('a loop whose thread was busy for long while its pusher came', limit, async t => {
    const address = ipcPlace()
    const own = open(t, { push: address })
    const { child, ended, said } = program(t, `
      ${prelude}
      const loop = pipe({ pull: '${address}' }).pull()
      const got = loop.next()
      await sleep(100)
      console.log('busy')
      for (const until = Date.now() + ${PATIENCE} + 500; Date.now() < until;);
      await got
      await sleep(${PATIENCE})
      process.exit()
    `)
    await said('busy')
    await own.push('job')
    const { stdout, stderr } = await ended
    assert.deepEqual([warnings(stdout), stderr, child.exitCode], [[], '', 0])
  })
})

test('a worker whose pusher restarts in time says nothing, and something 3 s after the end of one that does not', limit, async t => {
  const address = ipcPlace()
  const { child, said } = program(t, `
    ${prelude}
    const own = pipe({ pull: '${address}' })
    own.on('leave', () => { since = performance.now(); console.log('alone') })
    for await (const [job] of own.pull()) console.log(String(job))
  `)
  let output = ''
  child.stdout.on('data', text => { output += text })
  for (const life of ['first', 'second']) {
    const own = open(t, { push: address })
    await own.push(life)
    await said(life)
    await own.close()
    await new Promise(resolve => setTimeout(resolve, PATIENCE / 2))
    assert.deepEqual(warnings(output), [])
  }
  await said('warned')
  const message = only(warnings(output))
  assert.ok(message.includes(`${address} (ENOENT)`), message)
  child.kill('SIGKILL')
})

// It is dialled often enough in the first two seconds.
test('a pusher that is there for a moment counts', limit, async t => {
  const address = ipcPlace()
  const { ended, said } = program(t, `
    ${prelude}
    const own = pipe({ pull: '${address}' })
    own.once('unreachable', () => setTimeout(console.log, 600, 'now'))
    own.on('leave', () => { since = performance.now() })
    own.pull().next()
    await end()
  `)
  await said('now')
  const own = open(t, { push: address })
  await own.ready({ pullers: 1 })
  await own.close()
  only(warnings((await ended).stdout))
})
