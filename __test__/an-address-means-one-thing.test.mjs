// What an address leads to is found once, and whoever can't have it is told why.
import assert from 'node:assert/strict'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, statSync, unlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { pipe } from '../index.js'
import { happening } from './helpers/happening.mjs'
import { open } from './helpers/open.mjs'
import { inprocPlace, ipcPlace } from './helpers/place.mjs'
import { program } from './helpers/program.mjs'
import { take, texts } from './helpers/take.mjs'

const limit = { timeout: 20_000 }
const hasPaths = process.platform !== 'win32'
const onPaths = { ...limit, skip: hasPaths ? false : 'Windows has no sockets with paths' }

/** A folder that goes with the test. */
function folder (t) {
  const path = mkdtempSync(join(tmpdir(), 'zeropipe-paths-'))
  t.after(() => rmSync(path, { recursive: true, force: true }))
  return path
}

test('a relative path means the folder of the opening, whatever the process changes to', onPaths, async t => {
  const place = folder(t)
  mkdirSync(join(place, 'other'))
  writeFileSync(join(place, 'other', 'jobs'), 'precious')
  const { ended } = program(t, `
    import { existsSync } from 'node:fs'
    import { pipe } from 'zeropipe'
    process.chdir(${JSON.stringify(place)})
    const pusher = pipe({ push: 'ipc://jobs' })
    const worker = pipe({ pull: 'ipc://jobs' })
    await pusher.ready()
    await worker.ready({ pushers: 1 })
    const joined = new Promise(resolve => worker.on('leave', () => worker.on('join', resolve)))
    process.chdir('other')
    const take = async () => { for await (const [text] of worker.pull()) return String(text) }
    await pusher.push('one')
    console.log(await take(), pusher.stats().push.bound[0] === 'ipc://' + ${JSON.stringify(realpathSync(place))} + '/jobs')
    await pusher.close()
    console.log(existsSync('../jobs'))
    // The worker still dials the same place.
    const next = pipe({ push: 'ipc://../jobs' })
    await next.push('two')
    await joined
    console.log(await take())
    await Promise.all([next.close(), worker.close()])
  `)
  const { code, stdout, stderr } = await ended
  assert.deepEqual([code, stdout], [0, 'one true\nfalse\ntwo\n'], stderr)
  assert.equal(readFileSync(join(place, 'other', 'jobs'), 'utf8'), 'precious')
})

test('a close takes away no socket that another has bound at the same path since', onPaths, async t => {
  const address = ipcPlace()
  const path = address.slice('ipc://'.length)
  const first = open(t, { push: { bind: address } })
  await first.ready()
  unlinkSync(path)
  const second = open(t, { push: { bind: address } })
  await second.ready()
  await first.close()
  assert.ok(existsSync(path))
  const worker = open(t, { pull: address })
  await second.push('job')
  assert.deepEqual(texts(await take(worker, 1)), ['job'])
  await second.close()
  assert.ok(!existsSync(path))
})

test('a path of our own choice is private, told, and gone with the close', onPaths, async t => {
  for (const end of ['push', 'pull', 'request', 'reply']) {
    const bound = open(t, { [end]: { bind: 'ipc://*' } })
    const listening = happening(bound, 'listening')
    await bound.ready()
    const [address] = bound.stats()[end].bound
    assert.equal((await listening).address, address)
    const path = address.slice('ipc://'.length)
    assert.equal(statSync(dirname(path)).mode & 0o777, 0o700)
    await bound.close()
    assert.ok(!existsSync(path) && !existsSync(dirname(path)))
  }
  assert.ok(!existsSync('*'))
  const both = open(t, 'ipc://*')
  await both.push('job')
  assert.deepEqual(texts(await take(both, 1)), ['job'])
  await assert.rejects(pipe({ pull: { connect: 'ipc://*' } }).ready(), { code: 'ERR_ZEROPIPE_INVALID_ENDPOINT', message: /needs a path/ })
})

test('an interface is bound by its name', { ...limit, skip: process.platform === 'linux' ? false : 'its name is another one here' }, async t => {
  const pipe = open(t, { push: { bind: 'tcp://lo:*' } })
  const worker = open(t, { pull: { connect: await pipe.ready().then(() => pipe.stats().push.bound[0]) } })
  assert.match(pipe.stats().push.bound[0], /^tcp:\/\/127\.0\.0\.1:\d+$/)
  await pipe.push('job')
  assert.deepEqual(texts(await take(worker, 1)), ['job'])
})

test('loopback by its name reaches whatever of both loopbacks is bound', limit, async t => {
  for (const host of ['127.0.0.1', '[::1]', '*', 'localhost', 'LOCALHOST.']) {
    const pusher = open(t, { push: { bind: `tcp://${host}:*` } })
    await pusher.ready()
    const port = /\d+$/.exec(pusher.stats().push.bound[0])[0]
    for (const name of ['localhost', 'jobs.localhost', '*', '0.0.0.0', '[::]']) {
      const worker = open(t, { pull: { connect: `tcp://${name}:${port}` } })
      await pusher.push(name)
      assert.deepEqual(texts(await take(worker, 1)), [name])
      await worker.close()
    }
  }
})

test('what is bound is told as it is bound', limit, async t => {
  for (const [host, told] of [['*', '*'], ['[::]', '*'], ['0.0.0.0', '0.0.0.0'], ['[::1]', '[::1]'], ['127.0.0.1', '127.0.0.1']]) {
    const pipe = open(t, { pull: { bind: `tcp://${host}:*` } })
    await pipe.ready()
    assert.match(pipe.stats().pull.bound[0], new RegExp(`^tcp://${told.replace(/[[\]*.]/g, '\\$&')}:\\d+$`))
  }
})

/** Each way in which an address can be in use, and what helps: [what it is, how to make it so, what is said]. */
const inUse = [
  ['by another process', async t => {
    const { child, said } = program(t, `
      import { pipe } from 'zeropipe'
      const own = pipe({ pull: { bind: 'tcp://127.0.0.1:*' } })
      await own.ready()
      console.log('at ' + own.stats().pull.bound[0] + ';')
      setInterval(() => {}, 1000)
    `)
    let stdout = ''
    child.stdout.on('data', chunk => { stdout += chunk })
    await said(';')
    return { push: { bind: /at (.*);/.exec(stdout)[1] } }
  }, /another process listens there; let the worker bind: pipe\(\{ push: \{ connect \}, pull: \{ bind \} \}\)/],
  ['by another pipe of this process', async t => {
    const other = open(t, { push: { bind: 'tcp://127.0.0.1:*' } })
    await other.ready()
    return { pull: { bind: other.stats().push.bound[0] } }
  }, /another pipe of this process listens there/],
  ['by another pipe of this process, within the process', async t => {
    const place = inprocPlace()
    await open(t, { reply: { bind: place } }).ready()
    return { push: { bind: place } }
  }, /another pipe of this process listens there/],
  ['by an end of the same pipe', async t => {
    const port = await freePort(t)
    return { push: { bind: `tcp://127.0.0.1:${port}` }, pull: { bind: `tcp://127.0.0.1:${port}` } }
  }, /this pipe listens there itself, with its (push|pull) end/],
  ['by an end of the same pipe that listens everywhere', async t => {
    const port = await freePort(t)
    return { push: { bind: `tcp://*:${port}` }, reply: { bind: `tcp://127.0.0.1:${port}` } }
  }, /this pipe listens there itself, with its (push|reply) end/],
  ['by itself, given twice', async t => {
    const port = await freePort(t)
    return { push: { bind: [`tcp://127.0.0.1:${port}`, `tcp://localhost:${port}`] } }
  }, /this pipe listens there itself, with its push end/],
  ...hasPaths
    ? [['by a plain file', async t => {
        const path = join(folder(t), 'file')
        writeFileSync(path, 'precious')
        return { push: { bind: `ipc://${path}` } }
      }, /a file or folder that is no socket is at that path/],
      ['by a folder', async t => ({ push: { bind: `ipc://${folder(t)}` } }), /a file or folder that is no socket is at that path/]]
    : []
]

/** A port that was free a moment ago. */
async function freePort (t) {
  const pipe = open(t, { push: { bind: 'tcp://127.0.0.1:*' } })
  await pipe.ready()
  const port = /\d+$/.exec(pipe.stats().push.bound[0])[0]
  await pipe.close()
  return port
}

for (const [how, make, said] of inUse) {
  test(`an address in use ${how} says so, and what helps`, limit, async t => {
    const pipe = open(t, await make(t))
    await assert.rejects(pipe.ready(), ({ code, message }) => {
      assert.deepEqual([code, said.test(message)], ['EADDRINUSE', true], message)
      return true
    })
  })
}

/** Each way in which an address can be misspelt, and what is said. */
const misspelt = {
  'tcp://a:1,tcp://b:2': /array of strings/,
  'tcp://a:1,b:2': /array of strings/,
  'ipc:///a,ipc:///b': /array of strings/,
  'tcp://eth0:1;10.0.0.1:5555': /source address/,
  'tcp://::1:5': /an IPv6 address must stand in brackets/,
  'tcp://host': /the port is missing/,
  'tcp://host:http': /the port is no number/,
  'tcp://host/jobs:5': /character that no host has/,
  'localhost:7777': /starts with none of tcp/,
  'http://host:80': /none of tcp, ipc, inproc/
}

for (const [address, said] of Object.entries(misspelt)) {
  test(`${address} is refused for what is wrong with it`, limit, async () => {
    await assert.rejects(pipe({ push: { connect: address } }).push('job'), { code: 'ERR_ZEROPIPE_INVALID_ENDPOINT', message: said })
  })
}
