import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { node } from './helpers/runtime.mjs'

// Always with Node: zeromq.js runs nowhere else.
const demo = fileURLToPath(new URL('../examples/cluster/demo.mjs', import.meta.url))
const jobs = Array.from({ length: 30 }, (_, index) => index + 1)
const directory = mkdtempSync(join(tmpdir(), 'cluster-'))
// A process group of its own, so that all of it can be ended and nobody of it is overlooked.
const child = spawn(node, [demo], { detached: true, env: { ...process.env, TMPDIR: directory }, stdio: ['ignore', 'pipe', 'pipe'] })
/** What each part of the demo has printed. */
let parts
let end

before(async () => {
  const [[code, signal], stdout, stderr] = await Promise.all([once(child, 'close'), text(child.stdout), text(child.stderr)])
  end = { code, signal, stderr }
  parts = stdout.split(/^---.*\n/m).slice(1)
}, { timeout: 180_000 })

after(() => {
  if (isThere()) process.kill(-child.pid, 'SIGKILL')
  rmSync(directory, { recursive: true, force: true })
})

test('the demo ends by itself and leaves no process and no file', () => {
  assert.deepEqual(end, { code: 0, signal: null, stderr: '' })
  assert.equal(parts.length, 4)
  assert.equal(isThere(), false)
  assert.deepEqual(readdirSync(directory), [])
})

for (const [index, name] of ['once they are connected', 'once they have said that they are ready'].entries()) {
  test(`three workers do all jobs once, and each does some, ${name}`, () => {
    const part = parts[index]
    const results = matches(part, /^result (\d+): (\d+) squared is (\d+) \(worker (\d+)\)$/mg)
    assert.deepEqual(results.map(([count]) => count), jobs)
    assert.deepEqual(results.map(([, job]) => job).toSorted((a, b) => a - b), jobs)
    for (const [, job, result] of results) assert.equal(result, job * job)
    const workers = pids(part, /^worker (\d+) is online$/mg)
    assert.equal(new Set(workers).size, 3)
    assert.deepEqual([...new Set(results.map(([, , , pid]) => pid))].toSorted(), workers)
    assert.deepEqual(pids(part, /^worker (\d+) has ended$/mg), workers)
    assert.match(part, /^all done: 30 results of 30 jobs$/m)
  })
}

test('no job is done before all three workers have said that they are ready', () => {
  const [waiting, ...results] = parts[1].split(/^result /m)
  assert.equal(results.length, 30)
  assert.deepEqual(pids(waiting, /^worker (\d+) is ready$/mg), pids(parts[1], /^worker (\d+) is online$/mg))
})

test('the first of plain sockets to join swallows all jobs, with zeropipe whoever joins late gets a share', () => {
  const shares = library => {
    const line = parts[2].split('\n').find(line => line.startsWith(`${library}: `) && line.includes(' did '))
    return matches(line, / did (\d+) of 30 jobs/g).flat()
  }
  assert.deepEqual(shares('zeromq.js'), [30, 0, 0])
  const each = shares('zeropipe')
  assert.equal(each.length, 3)
  assert.equal(each.reduce((sum, share) => sum + share), 30)
  assert.ok(each.every(share => share > 0), each.join(', '))
})

test('a loop without a bound runs out of file descriptors, a handler with a bound does all jobs', () => {
  const [loop, handler] = parts[3].split(/^(?=handler: \d)/m)
  assert.match(loop, /^loop: ended with 1$/m)
  assert.match(loop, /^Error: EMFILE: too many open files, open /m)
  const [[done]] = matches(loop, /^loop: (\d+) of 100 jobs done/mg)
  assert.ok(done < 100)
  assert.match(handler, /^handler: ended with 0$/m)
  const [[all, most]] = matches(handler, /^handler: (\d+) of 100 jobs done, at most (\d+) files open at a time$/mg)
  assert.equal(all, 100)
  assert.ok(most <= 20)
})

/** The numbers of every match. */
function matches (text, pattern) {
  return [...text.matchAll(pattern)].map(([, ...numbers]) => numbers.map(Number))
}

function pids (text, pattern) {
  return matches(text, pattern).map(([pid]) => pid).toSorted()
}

/** Whether a process of the demo is there. */
function isThere () {
  try {
    process.kill(-child.pid, 0)
    return true
  } catch (error) {
    if (error.code === 'ESRCH') return false
    throw error
  }
}
