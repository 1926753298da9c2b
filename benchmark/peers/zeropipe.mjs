// zeropipe as its users write it.
import { pipe } from '../../index.js'

const site = ({ bind, connect }) => bind ? { bind } : { connect }

/** Where it listens: one address, or a list if it was asked for one. */
const listens = ({ bound }, { bind }) => Array.isArray(bind) ? bound : bound[0]

export async function openPush (args) {
  const own = pipe({ push: site(args) })
  await own.ready()
  return {
    address: listens(own.stats().push, args),
    ready: consumers => own.ready({ pullers: consumers }),
    push: own.push,
    close: () => own.close()
  }
}

export async function openPull (args) {
  const own = pipe({ pull: site(args) })
  await own.ready()
  return { address: listens(own.stats().pull, args), jobs: own.pull(args.batch ? { batch: args.batch } : undefined), close: () => own.close() }
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

/** Pushes back what it pulls; its two addresses. */
export async function openEcho () {
  const own = pipe({ pull: { bind: 'tcp://127.0.0.1:*' }, push: { bind: 'tcp://127.0.0.1:*' } })
  await own.ready()
  const { pull, push } = own.stats()
  const echoing = (async () => { for await (const job of own.pull()) await own.push(job) })()
  return { address: [pull.bound[0], push.bound[0]], close: async () => { await own.close(); await echoing } }
}

/** Pushes, and waits for what is pushed back. */
export async function openPing ([there, back]) {
  const own = pipe({ push: { connect: there }, pull: { connect: back } })
  const jobs = own.pull()
  const ask = async body => {
    await own.push(body)
    return (await jobs.next()).value
  }
  // The last job is done once the loop is left.
  return { ask, close: async () => { await jobs.return(); await own.close() } }
}
