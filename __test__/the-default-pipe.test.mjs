import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ipcPlace } from './helpers/place.mjs'
import { program } from './helpers/program.mjs'

const limit = { timeout: 30_000 }

/** Runs a program with a default endpoint of its own; its output, once it has ended well. */
async function output (t, text, options = {}, place = ipcPlace()) {
  const { ended } = program(t, text, { ...options, env: { ZEROPIPE_ENDPOINT: place, ...options.env } })
  const { code, signal, stdout, stderr } = await ended
  assert.deepEqual({ code, signal }, { code: 0, signal: null }, stderr)
  return stdout.trimEnd().split('\n')
}

test('push in one process and pull in another meet at ZEROPIPE_ENDPOINT', limit, async t => {
  const place = ipcPlace()
  const [, received] = await Promise.all([
    output(t, `
      import { push } from 'zeropipe'
      for (let i = 1; i <= 10; i++) await push(\`ok \${i}\`)
    `, {}, place),
    output(t, `
      import { pull } from 'zeropipe'
      let left = 10
      for await (const [msg] of pull()) {
        console.log(msg.toString())
        if (--left === 0) break
      }
    `, {}, place)
  ])
  assert.deepEqual(received, Array.from({ length: 10 }, (_, i) => `ok ${i + 1}`))
})

test('its members are named exports, and it is the default export itself', limit, async t => {
  const said = await output(t, `
    import zeropipe, { push, pull, ready, drain, stats, close, on, once, off, pipe } from 'zeropipe'
    import * as all from 'zeropipe'
    const members = { push, pull, ready, drain, stats, close, on, once, off, pipe }
    for (const [name, member] of Object.entries(members)) {
      console.log(name, typeof member, zeropipe[name] === member, all[name] === member)
    }
    await zeropipe.push('same pipe')
    for await (const [msg] of pull()) {
      console.log(msg.toString())
      await zeropipe.close()
    }
    console.log(typeof zeropipe[Symbol.asyncDispose])
  `)
  assert.deepEqual(said, [
    ...['push', 'pull', 'ready', 'drain', 'stats', 'close', 'on', 'once', 'off', 'pipe'].map(name => `${name} function true true`),
    'same pipe',
    'function'
  ])
})

test('require gives the same pipe as import', limit, async t => {
  const said = await output(t, `
    const zeropipe = require('zeropipe')
    const { push, pull, pipe } = require('zeropipe')
    async function main () {
      const imported = await import(require('node:url').pathToFileURL(require.resolve('zeropipe')).href)
      console.log(imported.push === push, imported.default === zeropipe, zeropipe.default === zeropipe, typeof pipe)
      await push('required')
      for await (const [msg] of imported.pull()) {
        console.log(msg.toString())
        break
      }
    }
    main()
  `, { extension: 'cjs' })
  assert.deepEqual(said, ['true true true function', 'required'])
})

test('closed, it opens again at the next call, and its listeners stay', limit, async t => {
  const said = await output(t, `
    import { push, pull, close, on, stats } from 'zeropipe'
    on('listening', ({ end }) => console.log('listening', end))
    await close()
    for (const word of ['first', 'second', 'third']) {
      await push(word)
      for await (const [msg] of pull()) {
        console.log(msg.toString(), stats().push.inFlight, stats().push.done)
        break
      }
      await close()
      await close()
      console.log(stats().push.bound.length, stats().push.done)
    }
  `)
  assert.deepEqual(said, ['first', 'second', 'third'].flatMap(word => ['listening push', `${word} 1 0`, '0 1']))
})

test('while it closes push rejects, and once it is closed push opens it again', limit, async t => {
  const said = await output(t, `
    import { push, pull, close, ready } from 'zeropipe'
    await ready()
    const closing = close()
    await push('between').catch(({ code }) => console.log(code))
    await closing
    await push('second')
    for await (const [msg] of pull()) {
      console.log(msg.toString())
      break
    }
  `)
  assert.deepEqual(said, ['ERR_ZEROPIPE_CLOSED', 'second'])
})

test('ZEROPIPE_ENDPOINT is read when the pipe is first used', limit, async t => {
  const place = ipcPlace()
  const said = await output(t, `
    import { ready, stats } from 'zeropipe'
    process.env.ZEROPIPE_ENDPOINT = ${JSON.stringify(place)}
    await ready()
    console.log(stats().push.bound.join())
  `, {}, 'tcp://wrong')
  assert.deepEqual(said, [place])
})

test('a wrong ZEROPIPE_ENDPOINT is an error of each call', limit, async t => {
  const said = await output(t, `
    import { push, pull, ready } from 'zeropipe'
    for (const call of [() => push('job'), () => pull().next(), () => ready(), () => push('job')]) {
      await call().catch(({ code, message }) => console.log(code, message.includes('tcp://wrong')))
    }
  `, {}, 'tcp://wrong')
  assert.deepEqual(said, Array(4).fill('ERR_ZEROPIPE_INVALID_ENDPOINT true'))
})

test('ZEROPIPE_ENDPOINT does not change pipes with endpoints of their own', limit, async t => {
  const said = await output(t, `
    import { pipe } from 'zeropipe'
    const own = pipe({ push: 'inproc://own' })
    await own.ready()
    console.log(own.stats().push.bound.join())
  `)
  assert.deepEqual(said, ['inproc://own'])
})

test('a second process that pushes at the same address is told EADDRINUSE and the cure', limit, async t => {
  const place = ipcPlace()
  const first = program(t, `
    import { ready } from 'zeropipe'
    await ready()
    console.log('listening')
    process.stdin.resume()
  `, { env: { ZEROPIPE_ENDPOINT: place } })
  await first.said('listening')
  const said = await output(t, `
    import { push } from 'zeropipe'
    await push('job').catch(({ code, message }) => console.log(code, message.includes('let the worker bind')))
  `, {}, place)
  assert.deepEqual(said, ['EADDRINUSE true'])
})
