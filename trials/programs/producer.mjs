// Pushes numbered jobs as soon as it is told to.
import { once } from 'node:events'
import { pipe } from '../../index.js'

const [library, count] = process.argv.slice(2)
if (library === 'zeropipe') {
  const jobs = pipe({ push: 'tcp://127.0.0.1:*' })
  await jobs.ready()
  process.send(jobs.stats().push.bound[0])
  await once(process, 'message')
  for (let number = 0; number < count; number++) await jobs.push(number)
  await once(process, 'message')
  await jobs.close()
} else {
  const { Push } = await import('zeromq')
  const socket = new Push({ linger: 0 })
  await socket.bind('tcp://127.0.0.1:*')
  process.send(socket.lastEndpoint)
  await once(process, 'message')
  const sending = (async () => { for (let number = 0; number < count; number++) await socket.send(String(number)) })()
  sending.catch(() => {}) // closed while it waits for a worker
  await once(process, 'message')
  socket.close()
}
process.disconnect()
