// node first-joiner.mjs: 30 jobs wait for workers, which join one after the other: with sockets of zeromq.js, then with zeropipe.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Pull, Push } from 'zeromq'
import { pipe } from 'zeropipe'

const JOBS = 30
const NAMES = ['first', 'second', 'third']
const work = () => sleep(20) // stands for work

const directory = mkdtempSync(join(tmpdir(), 'zeropipe-joiners-'))
process.once('exit', () => rmSync(directory, { recursive: true }))

await sockets(`ipc://${directory}/sockets`)
await pipes(`ipc://${directory}/pipes`)

/** A PUSH socket sends what it can: the first who joins gets all that waited, and those who come later get nothing of it. */
async function sockets (address) {
  const jobs = new Push()
  await jobs.bind(address)
  let sent = 0
  const sending = (async () => {
    while (sent < JOBS) {
      await jobs.send(String(sent + 1)) // waits until somebody is there
      sent++
    }
  })()

  const workers = []
  for (const name of NAMES) {
    const worker = new Pull()
    const joined = new Promise(resolve => worker.events.on('handshake', resolve))
    worker.connect(address)
    await joined
    await sending // all of them are gone sooner than another worker could connect
    console.log(`zeromq.js: the ${name} worker is there (jobs sent: ${sent}, waiting: ${JOBS - sent})`)
    workers.push(worker)
  }

  const shares = NAMES.map(() => 0)
  let left = JOBS
  await Promise.all(workers.map(async (worker, index) => {
    for await (const _job of worker) {
      await work()
      shares[index]++
      if (--left === 0) for (const worker of workers) worker.close()
    }
  }))
  jobs.close()
  tell('zeromq.js', shares)
}

/** A push end sends a worker what it can begin with soon: the others' jobs wait for them, however late they join. */
async function pipes (address) {
  const jobs = pipe({ push: { bind: address } })
  for (let n = 1; n <= JOBS; n++) await jobs.push(n)

  const workers = []
  for (const name of NAMES) {
    const { pull, close } = pipe({ pull: address })
    const pulled = pull()
    const first = await pulled.next() // it has this one until it asks for another
    const { inFlight, queued } = jobs.stats().push
    console.log(`zeropipe: the ${name} worker is there (jobs sent: ${inFlight}, waiting: ${queued})`)
    workers.push({ first, pulled, close })
  }

  const shares = NAMES.map(() => 0)
  const working = workers.map(async ({ first, pulled }, index) => {
    for (let step = first; !step.done; step = await pulled.next()) {
      await work()
      shares[index]++
    }
  })
  await jobs.drain()
  for (const { close } of workers) await close()
  await Promise.all(working)
  await jobs.close()
  tell('zeropipe', shares)
}

function tell (library, shares) {
  console.log(`${library}: ${NAMES.map((name, index) => `the ${name} worker did ${shares[index]} of ${JOBS} jobs`).join(', ')}`)
}
