// node many-files.mjs loop|handler: 100 jobs, each of which holds a file open for a while; begun by a loop, or by a handler.
import { open } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { pipe } from 'zeropipe'

const JOBS = 100
const [form] = process.argv.slice(2)
const { push, pull, drain, close } = pipe('inproc://files')

const forms = {
  // The loop begins with a job and asks for the next, without an await: nothing bounds how many it has begun.
  async loop () {
    for await (const job of pull()) work(job)
  },
  // At most so many at a time, however long each takes.
  async handler () {
    await pull(work, { concurrency: 20 })
  }
}

let running = 0
let most = 0
let done = 0

async function work () {
  const file = await open(new URL(import.meta.url))
  most = Math.max(most, ++running)
  await sleep(500)
  await file.close()
  running--
  done++
}

process.once('exit', () => console.log(`${form}: ${done} of ${JOBS} jobs done, at most ${most} files open at a time`))
for (let n = 1; n <= JOBS; n++) await push(n)
const working = forms[form]()
await drain()
await close()
await working
