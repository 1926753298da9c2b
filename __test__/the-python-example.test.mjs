import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { noPython as skip } from './helpers/python.mjs'
import { ownArgs } from './helpers/runtime.mjs'

const demo = fileURLToPath(new URL('../examples/python/demo.mjs', import.meta.url))

/** "WORD job 1" to "WORD job 5". */
const five = word => [1, 2, 3, 4, 5].map(number => `${word} job ${number}`)

test('the Python example prints what readers of its articles expect, whoever pushes and whoever binds', { skip, timeout: 60_000 }, async () => {
  const args = [...ownArgs, demo]
  const { stdout } = await promisify(execFile)(process.execPath, args, { env: { ...process.env, DEMO_PAUSE: '20' }, timeout: 50_000 })

  const parts = stdout.split(/^---.*\n/m).slice(1).map(part => part.trimEnd().split('\n'))
  assert.deepEqual(stdout.match(/^---.*$/mg), [
    '--- Python pushes and binds, zeropipe pulls and connects',
    '--- two of Python and carol of zeropipe push and connect, zeropipe pulls, binds, and tells them apart',
    '--- zeropipe pushes and binds, Python pulls and connects',
    '--- zeropipe pushes and connects, Python pulls and binds'
  ])
  const [pythonBinds, sink, zeropipeBinds, pythonSink] = parts.map(lines => {
    const [listening, ...others] = lines.filter(line => line.startsWith('listening on '))
    assert.deepEqual(others, [])
    const address = listening.slice('listening on '.length)
    assert.match(address, /^tcp:\/\/127\.0\.0\.1:\d+$/)
    const sent = lines.filter(line => line.startsWith('sent '))
    const received = lines.filter(line => line.startsWith('received '))
    assert.equal(lines.length, 1 + sent.length + received.length, lines.join('\n'))
    return { address, sent, received }
  })

  assert.deepEqual(pythonBinds.sent, five('sent'))
  assert.deepEqual(pythonBinds.received, five('received').map(line => `${line} from ${pythonBinds.address}`))
  for (const { sent, received } of [zeropipeBinds, pythonSink]) {
    assert.deepEqual(sent, five('sent'))
    assert.deepEqual(received, five('received'))
  }

  // Three pushers send three jobs each, in order. Those of one are from one place, and no other's are.
  assert.deepEqual(sink.sent.toSorted(), [1, 2, 3, 4, 5, 6, 7, 8, 9].map(number => `sent job ${number}`))
  const numbersFrom = new Map()
  for (const line of sink.received) {
    const [, number, from] = /^received job (\d) from (.*)$/.exec(line)
    numbersFrom.set(from, [...numbersFrom.get(from) ?? [], Number(number)])
  }
  assert.deepEqual([...numbersFrom.values()].toSorted(), [[1, 2, 3], [4, 5, 6], [7, 8, 9]])
  assert.deepEqual(numbersFrom.get('carol'), [7, 8, 9])
  for (const from of numbersFrom.keys()) assert.match(from, /^carol$|^tcp:\/\/127\.0\.0\.1:\d+$/)
})
