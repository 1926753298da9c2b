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
