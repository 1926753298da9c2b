// Test runners fake timers, polyfills bring promises of their own, hardened programs freeze
// everything: zeropipe takes what it needs once, at its import.
import assert from 'node:assert/strict'
import { readFileSync, readdirSync } from 'node:fs'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { inprocPlace, ipcPlace } from './helpers/place.mjs'
import { program } from './helpers/program.mjs'
import { isBun, isNode } from './helpers/runtime.mjs'

const limit = { timeout: 30_000 }
const root = fileURLToPath(new URL('..', import.meta.url))

/**
 * What is replaced here and there: all that a runtime adds to the language, and what polyfills
 * bring.
 */
const replaceable = [
  'AbortController', 'AbortSignal', 'Buffer', 'Date', 'Event', 'EventTarget', 'FinalizationRegistry', 'Map', 'MessageChannel', 'Promise', 'Set',
  'TextDecoder', 'TextEncoder', 'URL', 'WeakMap', 'WeakRef', 'WeakSet', 'clearImmediate', 'clearInterval', 'clearTimeout', 'console', 'crypto',
  'fetch', 'navigator', 'performance', 'process', 'queueMicrotask', 'setImmediate', 'setInterval', 'setTimeout', 'structuredClone'
]

/** A program without its comments, and without what stands in its strings. */
function stripped (text) {
  return text
    .replace(/\/\*.*?\*\/|(?<![:'])\/\/.*?$/gms, '')
    .replace(/'(?:\\.|[^'\\\n])*'/g, "''")
    .replace(/`[^`]*`/g, template => [...template.matchAll(/\$\{([^}]*)\}/g)].map(([, code]) => `(${code})`).join(' '))
}

test('no file but lib/runtime.js uses a global that may be replaced', () => {
  const files = ['index.js', ...readdirSync(`${root}/lib`).map(name => `lib/${name}`)].filter(name => name !== 'lib/runtime.js')
  const used = files.flatMap(file => {
    const text = readFileSync(`${root}/${file}`, 'utf8')
    const taken = [...text.matchAll(/^const (\{.*\}|\w+) = require\('(?:node:\w+|\.\/(?:lib\/)?runtime\.js)'\)$/gm)].flatMap(([, names]) => names.split(/\W+/))
    const names = replaceable.filter(name => !taken.includes(name))
    const uses = stripped(text).match(new RegExp(`(?<![.\\w$])(?:${names.join('|')})(?![\\w$]|:)|Math\\.random`, 'g')) ?? []
    return uses.map(name => `${file}: ${name}`)
  })
  assert.deepEqual(used, [])
})

/**
 * Uses every member of a pipe, in all of its forms; `real` is what the program has kept of its
 * globals.
 */
const everything = `
  async function everything ({ pipe }, { AbortController, Promise, setTimeout }, place, stream) {
    const own = pipe({ push: { bind: place }, pull: { connect: place }, request: { bind: stream }, reply: { connect: stream } })
    const refused = []
    own.on('refused', event => refused.push(event))
    own.once('join', () => {})
    await own.ready({ pullers: 1, pushers: 1, repliers: 1, requesters: 1, signal: new AbortController().signal })
    const text = job => job.map(String).join()

    for (const job of ['text', 7, null, new Uint8Array([65]), ['a', 'b']]) await own.push(job)
    const told = []
    for await (const job of own.pull()) if (told.push(text(job)) === 5) break

    await own.push('batch')
    for await (const jobs of own.pull({ batch: 10 })) { told.push(jobs.map(text).join()); break }
    await own.push('info')
    for await (const { job, attempt } of own.pull({ info: true })) { told.push(text(job) + attempt); break }

    // A handler fails once: the pause before the second attempt is a timer.
    const stopping = new AbortController()
    const tries = []
    const handled = new Promise(resolve => own.pull((job, { attempt }) => {
      tries.push(text(job) + attempt)
      if (attempt === 1) throw new Error('once')
      resolve()
    }, { concurrency: 2, signal: stopping.signal }).catch(() => {}))
    await own.push('try')
    await handled
    await own.drain()
    stopping.abort()

    const waiting = own.request('nobody answers', { timeout: 20 }).catch(({ code }) => code)
    told.push(await waiting)
    own.reply(([question]) => new Promise(resolve => setTimeout(resolve, 1, question + '!'))).catch(() => {})
    told.push(text(await own.request('question', { timeout: 20_000 })))
    const many = []
    for (let i = 0; i < 20_000; i++) many.push(own.push('x' + i))
    let left = many.length
    for await (const jobs of own.pull({ batch: 1000 })) if ((left -= jobs.length) === 0) break
    for (const one of many) await one
    await own.drain({ signal: new AbortController().signal })
    await own.close({ linger: 5_000 })
    return { told, tries, refused, left }
  }
`
const EXPECTED = {
  told: ['text', '7', '', 'A', 'a,b', 'batch', 'info1', 'ERR_ZEROPIPE_TIMEOUT', 'question!'],
  tries: ['try1', 'try2'],
  refused: [],
  left: 0
}

/**
 * Runs everything in a program whose globals are changed before it imports zeropipe, or after that.
 */
async function holds (t, { before = '', after = '', execArgv, extension = 'cjs' }) {
  const { ended } = program(t, `
    const { writeSync } = require('node:fs')
    const timers = require('node:timers')
    const real = { AbortController, Promise, setTimeout }
    const { stringify } = JSON
    ${everything}
    // What a program may not be: used after somebody has replaced it.
    const poison = name => new Proxy(function () {}, {
      apply () { throw new Error(name + ' was called') },
      construct () { throw new Error(name + ' was constructed') },
      get (target, key) { throw new Error(name + '.' + String(key) + ' was read') }
    })
    const replace = names => {
      for (const name of names) Object.defineProperty(globalThis, name, { value: poison(name), writable: true, configurable: true })
    }
    ${before}
    const zeropipe = require('zeropipe')
    ${after}
    everything(zeropipe, real, ${JSON.stringify(inprocPlace())}, ${JSON.stringify(ipcPlace())}).then(
      result => writeSync(1, stringify(result)),
      error => { writeSync(2, String(error?.stack ?? error)) })
  `, { execArgv, extension })
  const { code, stdout, stderr } = await ended
  assert.equal(stderr, '')
  assert.deepEqual(JSON.parse(stdout), EXPECTED)
  assert.equal(code, 0)
}

/**
 * Bun and Deno have their own modules of Node, in JavaScript that uses other globals by their
 * names.
 */
const usedByOthers = [
  'AbortSignal', 'Date', 'Event', 'EventTarget', 'Map', 'Promise', 'Set', 'TextDecoder', 'TextEncoder', 'URL', 'WeakMap', 'WeakRef', 'WeakSet',
  'crypto', 'performance', 'process'
]
const poisoned = replaceable.filter(name => isNode || !usedByOthers.includes(name))
const replaces = names => `replace(${JSON.stringify(names)})`

test('globals that are replaced after the import, before the first use, are not used', limit, async t => {
  await holds(t, { after: replaces(poisoned) })
})

test('neither are globals that were replaced before the import, but for what no module of Node has', limit, async t => {
  await holds(t, { before: replaces(poisoned.filter(name => !['Map', 'Set', 'WeakMap', 'WeakRef'].includes(name))) })
})

test('modules of Node that are mocked after the import are not used', limit, async t => {
  await holds(t, {
    after: `
      for (const name of ['setTimeout', 'clearTimeout', 'setImmediate', 'clearImmediate', 'setInterval', 'clearInterval']) timers[name] = poison(name)
      process.nextTick = poison('nextTick')
      performance.now = poison('now')
      queueMicrotask = poison('queueMicrotask')
      Math.random = () => NaN
    `
  })
})

test('timers that are numbers, as in browsers, make no difference', limit, async t => {
  const numbers = `
    let last = 0
    const { setImmediate } = globalThis
    globalThis.setTimeout = (work, ms, ...args) => { real.setTimeout(work, ms, ...args); return ++last }
    globalThis.clearTimeout = () => {}
  `
  await holds(t, { before: numbers })
  await holds(t, { after: numbers })
})

test('clocks that stand still make no difference', { ...limit, skip: !isNode && 'only Node has these mocks' }, async t => {
  await holds(t, { after: "require('node:test').mock.timers.enable()", execArgv: ['--no-warnings'] })
})

test('everything works in a program whose intrinsics are frozen', limit, async t => {
  /**
   * As hardened programs do it: every object that can be reached from a global of the language, and
   * those of its prototypes.
   */
  const freeze = `
    const seen = new Set()
    const harden = value => {
      if ((typeof value !== 'object' && typeof value !== 'function') || value === null || seen.has(value)) return
      seen.add(value)
      for (const descriptor of Object.values(Object.getOwnPropertyDescriptors(value))) [descriptor.value, descriptor.get, descriptor.set].forEach(harden)
      harden(Object.getPrototypeOf(value))
      Object.freeze(value)
    }
    for (const one of [Object, Function, Array, Promise, Map, Set, WeakMap, WeakSet, WeakRef, Error, Symbol, Math, JSON, Uint8Array, Uint32Array,
      Float64Array, ArrayBuffer, String, Number, BigInt, Boolean, RegExp, Date, Proxy, Reflect, (async function * () {})().constructor]) harden(one)
    if (!Object.isFrozen(Object.prototype)) throw new Error('not frozen')
  `
  if (!isBun) await holds(t, { before: freeze }) // its own modules assign to what is frozen when they are first used
  await holds(t, { after: freeze })
})

test('everything works under --frozen-intrinsics', { ...limit, skip: !isNode && 'a flag of Node' }, async t => {
  await holds(t, { execArgv: ['--frozen-intrinsics', '--no-warnings'] })
})
