// zeropipe as its users write it.
import { pipe } from '../../index.js'

export async function openPush () {
  const own = pipe({ push: { bind: 'tcp://127.0.0.1:*' } })
  await own.ready()
  return {
    address: own.stats().push.bound[0],
    ready: () => own.ready({ pullers: 1 }),
    push: own.push,
    close: () => own.close()
  }
}

export async function openPull (address) {
  const own = pipe({ pull: { connect: address } })
  return { jobs: own.pull(), close: () => own.close() }
}

export async function openReply () {
  const own = pipe({ reply: { bind: 'tcp://127.0.0.1:*' } })
  await own.ready()
  own.reply(([body]) => body, { concurrency: 64 })
  return { address: own.stats().reply.bound[0], close: () => own.close() }
}

export async function openRequest (address) {
  const own = pipe({ request: { connect: address } })
  return { ask: own.request, close: () => own.close() }
}
