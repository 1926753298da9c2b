// A deploy moves the folder of a running program's package away, or its descriptors run out: that
// must not matter once a pipe was used.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { copy } from './helpers/copies.mjs'
import { ipcPlace } from './helpers/place.mjs'
import { program } from './helpers/program.mjs'
import { isNode } from './helpers/runtime.mjs'

const limit = { timeout: 30_000 }

/** What a program may have to do for the first time only now. */
const rest = `
  async function useTheRest (own) {
    const told = []
    const text = job => job.map(String).join()
    for (const job of ['loop', 'batch', 'info', ['a', 'b']]) await own.push(job, { signal: new AbortController().signal })
    for await (const job of own.pull()) { told.push(text(job)); break }
    for await (const [job] of own.pull({ batch: 1 })) { told.push(text(job)); break }
    for await (const { job } of own.pull({ info: true })) { told.push(text(job)); break }
    const stopping = new AbortController()
    await own.pull(job => { told.push(text(job)); stopping.abort() }, { signal: stopping.signal }).catch(() => {})
    own.reply(([question]) => question + '!').catch(() => {})
    told.push(text(await own.request('request', { timeout: 20_000 })))
    own.reply(() => { throw Object.assign(new Error('no'), { code: 'NO' }) }, { concurrency: 2 }).catch(() => {})
    told.push(await own.push({}).catch(({ code }) => code))
    own.stats()
    await own.drain()
    return told.join(' ')
  }
`
const TOLD = 'loop batch info a,b request! ERR_ZEROPIPE_INVALID_JOB'

const prelude = folder => `
  const { closeSync, openSync, renameSync, writeSync } = require('node:fs')
  const folder = ${JSON.stringify(folder)}
  const zeropipe = require(folder)
  const pair = () => {
    const [jobs, requests] = ${JSON.stringify([ipcPlace(), ipcPlace()])}
    return zeropipe.pipe({ push: { bind: jobs }, pull: { connect: jobs }, request: { bind: requests }, reply: { connect: requests } })
  }
  const say = text => writeSync(1, text + '\\n')
  ${rest}
`

test('once a pipe was used, all of the package is in memory', limit, async t => {
  const { ended } = program(t, `${prelude(copy(t).folder)}
    const { readdirSync } = require('node:fs')
    const missing = () => readdirSync(folder + '/lib').filter(name => name !== 'load_failure.js' && require.cache[require('node:path').join(folder, 'lib', name)] === undefined)
    zeropipe.pipe({ push: 'nowhere' }).push('x').catch(() => say(JSON.stringify(missing())))
  `, { extension: 'cjs' })
  const { stdout, stderr } = await ended
  assert.equal(stderr, '')
  assert.deepEqual(JSON.parse(stdout), [])
})

test('a package that is moved away once its pipes are open goes on in all of its forms, to the end', limit, async t => {
  const { ended } = program(t, `${prelude(copy(t).folder)}
    async function main () {
      const own = pair()
      await own.ready({ pullers: 1, repliers: 1 })
      renameSync(folder, folder + '-gone')
      say(await useTheRest(own))
      // Others open now, and one is still open when the process ends, with a job that nobody takes.
      await own.close()
      const [other, last] = [zeropipe.pipe({ push: 'tcp://127.0.0.1:*' }), zeropipe.pipe({ push: 'tcp://127.0.0.1:*', linger: 10 })]
      await other.push('x')
      await other.close({ linger: 0 })
      await last.push('x')
      process.on('SIGTERM', () => { say('told to end'); last.close({ linger: 0 }).then(() => say('closed')) })
      process.kill(process.pid, 'SIGTERM')
    }
    main().catch(error => say(error.stack))
  `, { extension: 'cjs' })
  const { code, stdout, stderr } = await ended
  assert.deepEqual(stdout.trimEnd().split('\n'), [TOLD, 'told to end', 'closed'])
  assert.equal(code, 0)
  assert.match(stderr, /gave up 1 accepted job/)
})

test('neither do descriptors that have run out matter to it', { ...limit, skip: (!isNode || process.platform === 'win32') && 'other runtimes need descriptors themselves' }, async t => {
  const { ended } = program(t, `${prelude(copy(t).folder)}
    async function main () {
      const own = pair()
      await own.ready({ pullers: 1, repliers: 1 })
      const taken = []
      try {
        for (;;) taken.push(openSync('/dev/null'))
      } catch ({ code }) {
        say(code)
      }
      say(await useTheRest(own))
      await own.close()
    }
    main().catch(error => say(error.stack))
  `, { extension: 'cjs', command: ['sh', '-c', 'ulimit -n 100; exec "$0" "$@"', process.execPath] })
  const { code, stdout, stderr } = await ended
  assert.deepEqual(stdout.trimEnd().split('\n'), ['EMFILE', TOLD], stderr)
  assert.equal(code, 0)
})

test('what can\'t be read at the first use is an error of that call, of every kind, and the next call tries again', limit, async t => {
  const { ended } = program(t, `${prelude(copy(t).folder)}
    async function main () {
      renameSync(folder, folder + '-gone')
      const calls = {
        push: () => zeropipe.push('x'),
        request: () => zeropipe.request('x'),
        loop: async () => { for await (const job of zeropipe.pull()) say(job) },
        batch: () => zeropipe.pull({ batch: 3 }).next(),
        handler: () => zeropipe.pull(() => {}),
        reply: () => zeropipe.reply(() => {}),
        ready: () => zeropipe.ready(),
        drain: () => zeropipe.drain(),
        'close of a pipe': () => zeropipe.pipe('tcp://127.0.0.1:*').close()
      }
      for (const [name, call] of Object.entries(calls)) {
        const promise = call() // nothing is thrown
        say(name + ' ' + await promise.then(() => 'nothing', error => error.code))
      }
      say(zeropipe.stats().push.queued)
      await zeropipe.close()
      renameSync(folder + '-gone', folder)
      const own = pair()
      await own.ready()
      say(await useTheRest(own))
      await own.close()
    }
    main().catch(error => say(error.stack))
  `, { extension: 'cjs' })
  const { stdout, stderr } = await ended
  assert.equal(stderr, '')
  const names = ['push', 'request', 'loop', 'batch', 'handler', 'reply', 'ready', 'drain', 'close of a pipe']
  assert.deepEqual(stdout.trimEnd().split('\n'), [...names.map(name => `${name} ERR_ZEROPIPE_NOT_LOADED`), '0', TOLD])
})
