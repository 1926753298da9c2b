import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import * as zeropipe from '../index.js'
import { ipcPlace } from './helpers/place.mjs'
import { program } from './helpers/program.mjs'
import { ownArgs } from './helpers/runtime.mjs'

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8')
const jobs = Array.from({ length: 10 }, (_, index) => `ok ${index + 1}`)

test('the quickstart of the README runs as it stands', { timeout: 30_000 }, async t => {
  const [, quickstart] = /## Quickstart\n\n```js\n(.*?)```/s.exec(readme)
  assert.ok(quickstart.trim().split('\n').length <= 15)
  const { child, ended, said } = program(t, quickstart, { env: { ZEROPIPE_ENDPOINT: ipcPlace() } })
  await said('Received Job ok 10')
  child.kill('SIGKILL')
  const { stdout, stderr } = await ended
  assert.deepEqual(stdout.trim().split('\n').toSorted(), [...jobs.map(job => `push ${job.slice(3)}`), ...jobs.map(job => `Received Job ${job}`)].toSorted())
  assert.equal(stderr, '')
})

test('the demo prints what a reader of the article expects', { timeout: 60_000 }, async () => {
  const demo = fileURLToPath(new URL('../examples/article/demo.mjs', import.meta.url))
  const { stdout } = await promisify(execFile)(process.execPath, [...ownArgs, demo], { env: { ...process.env, DEMO_PAUSE: '20', ZEROPIPE_ENDPOINT: ipcPlace() } })
  const [alone, shared, carriedOn] = stdout.split(/^---.*\n/m).slice(1).map(part => part.trim().split('\n'))
  const pushes = jobs.map(job => `push ${job.slice(3)}`)
  assert.deepEqual(alone.filter(line => line.startsWith('push')), pushes)
  assert.deepEqual(alone.filter(line => !line.startsWith('push')), jobs.map(job => `Received Job ${job}`))
  const by = name => shared.filter(line => line.startsWith(`${name}: `)).map(line => Number(line.split(' ok ')[1]))
  // Each takes the next job as soon as it is free: how many that makes for either is up to the machine.
  assert.ok(by('A').length > 0 && by('B').length > 0)
  assert.deepEqual([...by('A'), ...by('B')].toSorted((a, b) => a - b), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
  assert.deepEqual(carriedOn.filter(line => !line.startsWith('push')), [11, 12, 13, 14, 15].map(job => `B: Received Job ok ${job}`))
})

test('every code that the README lists exists, and every code that exists is listed', () => {
  const source = ['../src/error.rs', '../lib/errors.js', '../lib/session.js', '../lib/exit.js', '../lib/handlers.js', '../lib/watchdog.js', '../index.js']
    .map(file => readFileSync(new URL(file, import.meta.url), 'utf8')).join('')
  const codes = text => new Set(text.match(/ZEROPIPE_[A-Z_]+|`_[A-Z_]+`/g).map(code => code.replace(/^`_|^ZEROPIPE_|`/g, '')))
  const listed = codes(readme)
  for (const variable of ['ENDPOINT', 'REQUEST_ENDPOINT']) listed.delete(variable)
  assert.deepEqual([...listed].toSorted(), [...codes(source)].toSorted())
})

test('every member that the README shows is there', () => {
  for (const name of ['push', 'pull', 'request', 'reply', 'ready', 'drain', 'stats', 'close', 'on', 'once', 'off', 'pipe']) {
    assert.equal(typeof zeropipe[name], 'function', name)
  }
})
