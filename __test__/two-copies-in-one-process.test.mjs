// Several dependencies of a program may each bring a zeropipe of their own, and each copy has a
// binary of its own.
import assert from 'node:assert/strict'
import { pathToFileURL } from 'node:url'
import { test } from 'node:test'
import { copy } from './helpers/copies.mjs'
import { ipcPlace } from './helpers/place.mjs'
import { program } from './helpers/program.mjs'

const limit = { timeout: 30_000 }

/** Runs a program that has `one` and `two`, each a copy; what it says, and of what it warns. */
async function run (t, text, { one, two }, extension = 'mjs') {
  const bring = extension === 'mjs'
    ? [one, two].map(({ entry }) => `(await import(${JSON.stringify(pathToFileURL(entry).href)}))`)
    : [one, two].map(({ entry }) => `require(${JSON.stringify(entry)})`)
  const { ended } = program(t, `
    ${extension === 'mjs'
      ? "import { writeSync } from 'node:fs'; import { Worker, isMainThread, parentPort } from 'node:worker_threads'"
      : "const { writeSync } = require('node:fs'); const { Worker, isMainThread, parentPort } = require('node:worker_threads')"}
    const say = text => writeSync(1, text + '\\n')
    const self = ${extension === 'mjs' ? 'new URL(import.meta.url)' : '__filename'}
    process.on('warning', ({ code, message }) => { if (isMainThread) say(code + ' ' + message) })
    const first = async pipe => { for await (const job of pipe.pull()) return job.map(String).join() }
    ${extension === 'mjs' ? '' : ';(async () => {'}
    ${text.replaceAll('bring(one)', bring[0]).replaceAll('bring(two)', bring[1])}
    ${extension === 'mjs' ? '' : '})()'}
  `, { extension, execArgv: process.versions.bun === undefined && process.versions.deno === undefined ? ['--no-warnings'] : [], env: { ZEROPIPE_ENDPOINT: ipcPlace(), ZEROPIPE_REQUEST_ENDPOINT: ipcPlace() } })
  const { code, stdout, stderr } = await ended
  assert.equal(code, 0, stderr)
  return { said: stdout.trimEnd().split('\n'), stderr }
}

for (const extension of ['mjs', 'cjs']) {
  test(`copies of one version share the default pipe and inproc addresses (${extension})`, limit, async t => {
    const { said, stderr } = await run(t, `
      const one = bring(one)
      const two = bring(two)
      await one.push('from one')
      await two.push('from two') // would be EADDRINUSE
      say(await first(two))
      say(await first(one))
      one.reply(([text]) => text + '!').catch(() => {})
      say(String(await two.request('asked')))
      const [left, right] = [one.pipe({ push: { bind: 'inproc://meeting' } }), two.pipe({ pull: 'inproc://meeting' })]
      await left.push('inproc')
      say(await first(right))
      await Promise.all([left.close(), right.close()])
      await two.close()
      await one.close()
    `, { one: copy(t), two: copy(t) }, extension)
    assert.deepEqual(said, ['from one', 'from two', 'asked!', 'inproc'])
    assert.equal(stderr, '')
  })
}

test('so do copies in a thread and in the one that has started it', limit, async t => {
  const { said, stderr } = await run(t, `
    if (isMainThread) {
      const one = bring(one)
      await one.push('to a thread')
      const worker = new Worker(self)
      const over = new Promise(resolve => worker.on('exit', resolve))
      await new Promise(resolve => worker.on('message', text => { say(text); resolve() }))
      say(await first(one))
      const inproc = one.pipe({ push: { bind: 'inproc://threads' } })
      worker.postMessage('go on')
      await inproc.push('inproc')
      await inproc.drain()
      await over
      await inproc.close()
      await one.close()
    } else {
      const two = bring(two)
      parentPort.postMessage(await first(two))
      await two.push('from a thread')
      await new Promise(resolve => parentPort.once('message', resolve))
      const own = two.pipe({ pull: 'inproc://threads' })
      const got = await first(own)
      if (got !== 'inproc') throw new Error(got)
      await own.close()
    }
  `, { one: copy(t), two: copy(t) })
  assert.deepEqual(said, ['to a thread', 'from a thread'])
  assert.equal(stderr, '')
})

test('copies of two versions share nothing, which a warning says once, and the error of an address in use', limit, async t => {
  const copies = { one: copy(t), two: copy(t, '9.9.9') }
  const { said } = await run(t, `
    const one = bring(one)
    const two = bring(two)
    await one.ready()
    await two.ready().catch(({ code, message }) => say(code + ' ' + message))
    await two.pipe({ push: 'tcp://127.0.0.1:*' }).ready()
    await new Promise(resolve => setTimeout(resolve, 1))
    await one.close({ linger: 0 })
  `, copies)
  const kinds = said.map(line => line.split(' ')[0])
  assert.deepEqual(kinds.toSorted(), ['EADDRINUSE', 'ZEROPIPE_DUPLICATE'])
  for (const line of said) assert.match(line, /version 0\.\d+\.\d+/)
  const warning = said.find(line => line.startsWith('ZEROPIPE'))
  assert.match(warning, /zeropipe 9\.9\.9/)
  for (const { folder } of Object.values(copies)) assert.ok(warning.includes(folder), `${warning} names ${folder}`)
  assert.match(said.find(line => line.startsWith('EADDRINUSE')), /another copy of zeropipe/)
})

test('threads that know nothing of each other are told of the other copy when an address is in use', { ...limit, skip: process.platform !== 'linux' && 'only Linux tells what a process has loaded' }, async t => {
  const copies = { one: copy(t), two: copy(t) }
  const { said } = await run(t, `
    if (isMainThread) {
      const start = which => {
        const worker = new Worker(self, { argv: [which] })
        return new Promise(resolve => worker.on('message', text => resolve([worker, text])))
      }
      const [holder] = await start('one')
      const [, text] = await start('two')
      say(text)
      holder.postMessage('end')
    } else if (process.argv.includes('one')) {
      const one = bring(one)
      await one.ready()
      parentPort.postMessage('ready')
      await new Promise(resolve => parentPort.once('message', resolve))
      await one.close()
    } else {
      parentPort.postMessage(await bring(two).push('x').then(() => 'pushed', ({ code, message }) => code + ' ' + message))
    }
  `, copies)
  assert.equal(said.length, 1)
  assert.match(said[0], /^EADDRINUSE .*another copy of zeropipe/)
  assert.ok(said[0].includes(copies.one.folder), said[0])
})
