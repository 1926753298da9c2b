// node ready.mjs: a master has 30 jobs done by three workers of node:cluster, and begins when all of them are connected.
import cluster from 'node:cluster'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pipe } from 'zeropipe'
import { meeting } from './meeting.mjs'

const WORKERS = 3
const JOBS = 30

await (cluster.isPrimary ? master() : worker())

async function master () {
  const directory = mkdtempSync(join(tmpdir(), 'zeropipe-cluster-'))
  process.once('exit', () => rmSync(directory, { recursive: true }))
  const env = { JOBS: `ipc://${directory}/jobs`, RESULTS: `ipc://${directory}/results` }
  const { ready, push, pull, drain, close } = pipe({ push: { bind: env.JOBS }, pull: { bind: env.RESULTS } })

  cluster.on('online', ({ process: { pid } }) => console.log(`worker ${pid} is online`))
  cluster.on('exit', ({ process: { pid } }, code, signal) => {
    if (code !== 0) throw new Error(`worker ${pid} ended with ${signal ?? code}`)
    console.log(`worker ${pid} has ended`)
  })
  for (let i = 0; i < WORKERS; i++) cluster.fork(env)

  const everyWorker = meeting(WORKERS)
  let count = 0
  const collecting = pull(async ([result, pid]) => {
    console.log(`result ${++count}: ${result} (worker ${pid})`)
    // A worker goes on when its result is taken: none has a second job before each has had one.
    await everyWorker.arrive(String(pid))
  }, { concurrency: WORKERS })

  await ready({ pullers: WORKERS })
  for (let n = 1; n <= JOBS; n++) await push(n)
  await drain() // all jobs are done, and a job is done when its result is here
  console.log(`all done: ${count} results of ${JOBS} jobs`)
  await close()
  await collecting
  cluster.disconnect()
}

async function worker () {
  const { push, pull, drain, close } = pipe({ pull: process.env.JOBS, push: { connect: process.env.RESULTS } })
  process.once('disconnect', () => close())
  for await (const [job] of pull()) {
    await sleep(5) // stands for work
    await push([`${job} squared is ${Number(job) ** 2}`, process.pid])
    await drain() // a worker that is killed gives back the job or has delivered its result
  }
}
