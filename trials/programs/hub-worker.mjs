// A worker that listens: takes a fixed time for each job, and tells when it is done with it.
import { setTimeout } from 'node:timers/promises'
import { pipe } from '../../index.js'

const [library, pace] = process.argv.slice(2)

async function work () {
  await setTimeout(Number(pace))
  process.send(Date.now())
}

if (library === 'zeropipe') {
  const jobs = pipe({ pull: { bind: 'tcp://127.0.0.1:*' } })
  await jobs.ready()
  process.send(jobs.stats().pull.bound[0])
  for await (const [number] of jobs.pull()) await work(number)
} else {
  const { Pull } = await import('zeromq')
  const socket = new Pull()
  await socket.bind('tcp://127.0.0.1:*')
  process.send(socket.lastEndpoint)
  for await (const [number] of socket) await work(number)
}
