// One run: a producer and a consumer, or who asks and who answers, each in a process of its own.
import { fork } from 'node:child_process'
import { once } from 'node:events'

const script = name => new URL(name, import.meta.url)

/**
 * Jobs a second of `library` after the first `skip` jobs, with `env` beside the environment of this process. `via(address)` may
 * give the consumer another address to connect to, and is awaited.
 */
export async function measure ({ library = 'zeropipe', count, size, skip = 0, env = {}, via = address => address }) {
  const options = { env: { ...process.env, ...env } }
  const producer = fork(script('producer.mjs'), [library, count, size].map(String), options)
  const [address] = await once(producer, 'message')
  const consumer = fork(script('consumer.mjs'), [library, count, await via(address), skip].map(String), options)
  const [[milliseconds]] = await Promise.all([once(consumer, 'message'), once(consumer, 'exit')])
  producer.send('done')
  await once(producer, 'exit')
  return (count - skip) / milliseconds * 1000
}

export const median = list => list.toSorted((a, b) => a - b)[list.length >> 1]

/** Of `library`: requests a second, so many at a time, and how long half of them and all but a hundredth took at most, in milliseconds. */
export async function measureRequests ({ library, count, size, inFlight }) {
  const replier = fork(script('replier.mjs'), [library])
  const [address] = await once(replier, 'message')
  const requester = fork(script('requester.mjs'), [library, count, size, inFlight, address].map(String))
  const [[result]] = await Promise.all([once(requester, 'message'), once(requester, 'exit')])
  replier.send('done')
  await once(replier, 'exit')
  return result
}
