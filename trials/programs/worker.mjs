// node worker.mjs LIBRARY PACE [ADDRESS]: listens and tells where, or connects to that address and tells that it has. Takes PACE
// milliseconds for each job, and tells when it is done with it and how long that really took.
import { setTimeout } from 'node:timers/promises'
import { pipe } from '../../index.js'

const [library, pace, address] = process.argv.slice(2)

async function work () {
  const began = performance.now()
  await setTimeout(Number(pace))
  process.send({ at: Date.now(), took: performance.now() - began })
}

if (library === 'zeropipe') {
  const jobs = pipe({ pull: address ?? { bind: 'tcp://127.0.0.1:*' } })
  await jobs.ready({ pushers: address === undefined ? 0 : 1 })
  process.send(jobs.stats().pull.bound[0] ?? 'ready')
  for await (const [number] of jobs.pull()) await work(number)
} else {
  const { Pull } = await import('zeromq')
  const socket = new Pull()
  const connected = new Promise(resolve => socket.events.on('handshake', resolve))
  if (address === undefined) {
    await socket.bind('tcp://127.0.0.1:*')
  } else {
    socket.connect(address)
    await connected
  }
  process.send(socket.lastEndpoint)
  for await (const [number] of socket) await work(number)
}
