// Takes a fixed time for each job, and tells when it is done with it and how long that really took. Says that it is there by its
// first message.
import { setTimeout } from 'node:timers/promises'
import { pipe } from '../../index.js'

const [library, address, pace] = process.argv.slice(2)

async function work () {
  const began = performance.now()
  await setTimeout(Number(pace))
  process.send({ at: Date.now(), took: performance.now() - began })
}

if (library === 'zeropipe') {
  const jobs = pipe({ pull: address })
  await jobs.ready({ pushers: 1 })
  process.send('ready')
  for await (const [number] of jobs.pull()) await work(number)
} else {
  const { Pull } = await import('zeromq')
  const socket = new Pull()
  const connected = new Promise(resolve => socket.events.on('handshake', resolve))
  socket.connect(address)
  await connected
  process.send('ready')
  for await (const [number] of socket) await work(number)
}
