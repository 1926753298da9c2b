// node producer.mjs LIBRARY COUNT [ADDRESS ...]: listens and tells where, or connects to those addresses and tells that it has. Pushes
// numbered jobs as soon as it is told to.
import { once } from 'node:events'
import { pipe } from '../../index.js'

const [library, count, ...addresses] = process.argv.slice(2)
if (library === 'zeropipe') {
  const jobs = pipe({ push: addresses.length > 0 ? { connect: addresses } : 'tcp://127.0.0.1:*' })
  await jobs.ready({ pullers: addresses.length })
  process.send(jobs.stats().push.bound[0] ?? 'ready')
  await once(process, 'message')
  for (let number = 0; number < count; number++) await jobs.push(number)
  await once(process, 'message')
  await jobs.close()
} else {
  const { Push } = await import('zeromq')
  const socket = new Push({ linger: 0 })
  if (addresses.length === 0) await socket.bind('tcp://127.0.0.1:*')
  let left = addresses.length
  const connected = new Promise(resolve => {
    if (left === 0) resolve()
    socket.events.on('handshake', () => { if (--left === 0) resolve() })
  })
  for (const address of addresses) socket.connect(address)
  await connected
  process.send(socket.lastEndpoint)
  await once(process, 'message')
  const sending = (async () => { for (let number = 0; number < count; number++) await socket.send(String(number)) })()
  sending.catch(() => {}) // closed while it waits for a worker
  await once(process, 'message')
  socket.close()
}
process.disconnect()
