// A pusher that dials its workers; pushes as soon as it is told to.
import { once } from 'node:events'
import { pipe } from '../../index.js'

const [library, count, ...addresses] = process.argv.slice(2)
if (library === 'zeropipe') {
  const jobs = pipe({ push: { connect: addresses } })
  await jobs.ready({ pullers: addresses.length })
  process.send('ready')
  await once(process, 'message')
  for (let number = 0; number < count; number++) await jobs.push(number)
  await once(process, 'message')
  await jobs.close()
} else {
  const { Push } = await import('zeromq')
  const socket = new Push({ linger: 0 })
  const connected = new Promise(resolve => {
    let left = addresses.length
    socket.events.on('handshake', () => { if (--left === 0) resolve() })
  })
  for (const address of addresses) socket.connect(address)
  await connected
  process.send('ready')
  await once(process, 'message')
  for (let number = 0; number < count; number++) await socket.send(String(number))
  await once(process, 'message')
  socket.close()
}
process.disconnect()
