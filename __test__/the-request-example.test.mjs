import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { ownArgs } from './helpers/runtime.mjs'

const demo = fileURLToPath(new URL('../examples/request/demo.mjs', import.meta.url))
let shared
let died

before(async () => {
  const { stdout } = await promisify(execFile)(process.execPath, [...ownArgs, demo], { env: { ...process.env, DEMO_PAUSE: '50' }, timeout: 60_000 })
  const parts = stdout.split(/^---.*\n/m).slice(1).map(part => part.trim().split('\n'))
  shared = parts[0]
  died = parts[1]
}, { timeout: 60_000 })

const matches = (lines, pattern) => lines.map(line => pattern.exec(line)).filter(found => found !== null)

test('every request of the example is answered by whoever worked on it', () => {
  const worked = new Map(matches(shared, /^(\w) works on (.*)$/).map(([, name, question]) => [question, name]))
  const replies = matches(shared, /^reply to (.*): (\w) has done (.*)$/)
  assert.deepEqual(replies.map(([, question]) => question).toSorted(), [1, 2, 3, 5, 6, 7, 8, 9].map(number => `request ${number}`))
  for (const [, question, name, done] of replies) assert.deepEqual([done, name], [question, worked.get(question)])
  assert.deepEqual(new Set(worked.values()), new Set(['A', 'B', 'C']))
})

test('the one whose handler throws is told what it has thrown', () => {
  const [[, name]] = matches(shared, /^(\w) works on request 4$/)
  assert.deepEqual(matches(shared, /^no reply to (.*)$/).map(([, what]) => what), [`request 4: ${name} can't do request 4`])
})

test('a request whose replier dies is answered by another', () => {
  assert.deepEqual(matches(died, /^(the \w+) works on request 1$/).map(([, name]) => name), ['the first', 'the second'])
  assert.deepEqual(matches(died, /^reply to (.*): the second has done (.*)$/).map(([, question, done]) => [question, done]),
    [1, 2, 3].map(number => [`request ${number}`, `request ${number}`]))
})
