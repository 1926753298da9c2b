// One rule for jobs and for requests: at close, and when nothing else keeps the process, what is
// left is waited for as long as `linger` says, and what is given up is counted in one warning.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { pipe as makePipe } from '../index.js'
import { replier } from './helpers/ends.mjs'
import { warning } from './helpers/happening.mjs'
import { open } from './helpers/open.mjs'
import { inprocPlace, ipcPlace } from './helpers/place.mjs'
import { program } from './helpers/program.mjs'
import { ignoresTopLevelAwait } from './helpers/runtime.mjs'

const limit = { timeout: 60_000 }

/**
 * A program that asks through a pipe with those options, and says what becomes of each request, and
 * when.
 */
function asker (t, options, text) {
  return program(t, `
    import { pipe } from 'zeropipe'
    const began = performance.now()
    const own = pipe(${JSON.stringify(options)})
    const { request, push, ready, close } = own
    const tell = promise => promise.then(([reply]) => console.log('reply', String(reply)), ({ code }) => console.log(code))
    process.on('exit', () => console.log('after', performance.now() - began))
    ${text}
  `)
}

/** What a program has said, without when; and that. */
function said (stdout) {
  const lines = stdout.trim().split('\n')
  return { lines: lines.slice(0, -1), after: Number(lines.at(-1).split(' ')[1]) }
}

const CLOSED = 'ERR_ZEROPIPE_CLOSED'
const asks = 'for (let i = 0; i < 3; i++) tell(request(i))'

const open3 = {
  'that reach nobody': () => ({ options: { request: ipcPlace() }, text: asks }),
  'that a replier holds': async t => {
    const { pipe, address } = await replier(t)
    pipe.reply(() => new Promise(() => {}), { concurrency: 3 }).catch(() => {})
    return { options: { request: address }, text: asks }
  },
  'of which two wait for room': () => ({ options: { request: { bind: 'tcp://127.0.0.1:*' }, highWaterMark: { messages: 1 } }, text: asks }),
  'that have a long timeout': () => ({ options: { request: ipcPlace() }, text: 'for (let i = 0; i < 3; i++) tell(request(i, { timeout: 1_000_000 }))' })
}

for (const [which, make] of Object.entries(open3)) {
  for (const linger of [0, 300]) {
    test(`a process that waits for nothing but three requests ${which} ends after a linger of ${linger}, and counts them`, limit, async t => {
      const { options, text } = await make(t)
      const { code, signal, stdout, stderr } = await asker(t, { ...options, linger }, text).ended

      const { lines, after } = said(stdout)
      assert.deepEqual([code, signal, lines], [0, null, [CLOSED, CLOSED, CLOSED]])
      assert.ok(after >= linger, `after ${after} ms`)
      assert.match(stderr, /\[ZEROPIPE_GAVE_UP\].* 3 open requests that nobody answered/)
      assert.equal(stderr.split('ZEROPIPE_').length, 2, stderr)
    })
  }
}

test('a top-level await of such a request throws, as any other', { ...limit, skip: ignoresTopLevelAwait }, async t => {
  const { code, stderr } = await asker(t, { request: ipcPlace(), linger: 100 }, "await request('job')").ended
  assert.equal(code, 1)
  assert.ok(stderr.includes(CLOSED), stderr)
})

test('as long as replies come in time, a linger that is shorter than all of it gives nothing up', limit, async t => {
  const { pipe, address } = await replier(t)
  pipe.reply(async ([text]) => {
    await setTimeout(100)
    return text
  }, { concurrency: 2 }).catch(() => {})
  const { code, stdout, stderr } = await asker(t, { request: address, linger: 1_000 }, `
    const asking = async name => { for (let i = 0; i < 15; i++) await tell(request(name + i)) }
    await Promise.all([asking('a'), asking('b')])
    await tell(request('end'))
  `).ended
  const { lines, after } = said(stdout)
  assert.deepEqual([code, stderr, lines.length], [0, '', 31])
  assert.ok(lines.every(line => line.startsWith('reply ')), stdout)
  assert.ok(after > 1_000)
})

test('while something else keeps the process, requests stay open however long that takes', limit, async t => {
  const address = ipcPlace()
  const { child, ended } = asker(t, { request: address, linger: 20 }, `
    const alive = setInterval(() => {}, 1_000)
    tell(request('job')).then(() => clearInterval(alive))
    setTimeout(() => console.error('many lingers later'), 500)
  `)
  await new Promise(resolve => child.stderr.once('data', resolve))
  open(t, { reply: address }).reply(([job]) => `answer to ${job}`).catch(() => {})
  const { code, stdout, stderr } = await ended
  assert.deepEqual([code, stderr, said(stdout).lines], [0, 'many lingers later\n', ['reply answer to job']])
})

test('jobs and requests that are given up at exit are counted in one warning', limit, async t => {
  const { code, stdout, stderr } = await asker(t, { request: ipcPlace(), push: { connect: ipcPlace() }, linger: 100 }, `
    ${asks}
    await push('a')
    await push('b')
  `).ended
  assert.deepEqual([code, said(stdout).lines], [0, [CLOSED, CLOSED, CLOSED]])
  assert.match(stderr, /2 accepted jobs that no worker took and 3 open requests that nobody answered/)
  assert.equal(stderr.split('ZEROPIPE_').length, 2, stderr)
})

for (const how of ['of its own', 'of the pipe']) {
  test(`close with a linger ${how} counts the requests that it gives up, and jobs in the same warning`, limit, async () => {
    const place = inprocPlace()
    const pipe = makePipe({ request: place, push: inprocPlace(), linger: how === 'of the pipe' ? 10 : undefined })
    const asked = ['a', 'b'].map(text => assert.rejects(pipe.request(text), { code: CLOSED }))
    await pipe.push('job')
    const told = warning('ZEROPIPE_GAVE_UP')
    await pipe.close(how === 'of the pipe' ? undefined : { linger: 10 })
    await Promise.all(asked)
    const { message } = await told
    assert.match(message, /^gave up 1 accepted job that no worker took and 2 open requests that nobody answered/)
    assert.ok(message.includes(place))
  })
}
