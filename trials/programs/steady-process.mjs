// Does the same again and again, and says after each round what it holds: `open` so many pipes, one after the other, each with jobs that cross
// tcp and ipc; or `run` one at full speed for so many milliseconds.
import { readdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { pipe } from '../../index.js'

const [what, rounds, each] = [process.argv[2], ...process.argv.slice(3).map(Number)]
setFlagsFromString('--expose-gc')
const gc = runInNewContext('gc')
let jobs = 0

const places = ['tcp://127.0.0.1:*', `ipc://${join(tmpdir(), `zeropipe-leaks-${process.pid}`)}`]

async function openAndClose (count) {
  for (let left = count; left > 0; left--) {
    const own = pipe({ push: { bind: places[left % 2] } })
    await own.ready()
    const other = pipe({ pull: own.stats().push.bound[0] })
    await own.push(Buffer.alloc(1000))
    for await (const _ of other.pull()) {
      jobs++
      break
    }
    await Promise.all([own.close(), other.close()])
  }
}

const steady = what === 'run' && await steadyPipe()

async function steadyPipe () {
  const own = pipe({ push: { bind: places[0] } })
  await own.ready()
  const other = pipe({ pull: own.stats().push.bound[0] })
  const pulling = (async () => { for await (const _ of other.pull()) jobs++ })()
  return { own, other, pulling }
}

async function runFor (milliseconds) {
  const [until, job] = [Date.now() + milliseconds, Buffer.alloc(100)]
  while (Date.now() < until) for (let left = 1000; left > 0; left--) await steady.own.push(job)
  await steady.own.drain()
}

/** What it holds, once all is quiet. */
async function sample () {
  // A pipe is garbage a second after it was closed; what has passed is given back a fifth of one after the last of it.
  for (let left = 4; left > 0; left--) {
    gc()
    await sleep(600)
  }
  const { libuv, javascriptHeap } = process.report.getReport()
  // Node's own timers come and go; we make none of these.
  const handles = libuv.filter(({ type, is_active: isActive }) => isActive && type !== 'timer').length
  return {
    jobs,
    memory: process.memoryUsage.rss() - (javascriptHeap.totalCommittedMemory - javascriptHeap.usedMemory),
    descriptors: readdirSync('/proc/self/fd').length,
    handles,
    threads: readdirSync('/proc/self/task').length
  }
}

for (let left = rounds; left > 0; left--) {
  await (what === 'run' ? runFor(each) : openAndClose(each))
  process.send(await sample())
}
if (steady) {
  await Promise.all([steady.own.close(), steady.other.close()])
  await steady.pulling
}
process.disconnect()
