// zeromq.js as its users write it.
import { Dealer, Pull, Push, Request, Router } from 'zeromq'

export async function openPush () {
  const socket = new Push()
  await socket.bind('tcp://127.0.0.1:*')
  return {
    address: socket.lastEndpoint,
    ready: async () => {}, // the first send waits for a peer
    push: job => socket.send(job),
    close: async () => socket.close()
  }
}

export async function openPull (address) {
  const socket = new Pull()
  socket.connect(address)
  return { jobs: socket, close: async () => socket.close() }
}

export async function openReply () {
  const socket = new Router()
  await socket.bind('tcp://127.0.0.1:*')
  const answering = (async () => {
    for await (const [peer, ...message] of socket) await socket.send([peer, ...message])
  })()
  return { address: socket.lastEndpoint, close: async () => { socket.close(); await answering } }
}

/** A REQ where one request at a time is asked for, else a DEALER that tells its replies apart. */
export async function openRequest (address, inFlight) {
  if (inFlight === 1) {
    const socket = new Request()
    socket.connect(address)
    const ask = async body => {
      await socket.send(body)
      return await socket.receive()
    }
    return { ask, close: async () => socket.close() }
  }
  const socket = new Dealer()
  socket.connect(address)
  const open = new Map()
  let last = 0
  const reading = (async () => {
    for await (const [id, , ...body] of socket) {
      const number = id.readUInt32LE()
      open.get(number)(body)
      open.delete(number)
    }
  })()
  // A socket takes one message at a time: others wait until that is sent.
  let sending = Promise.resolve()
  const ask = body => new Promise((resolve, reject) => {
    const id = Buffer.alloc(4)
    id.writeUInt32LE(++last)
    open.set(last, resolve)
    sending = sending.then(() => socket.send([id, null, body])).catch(reject)
  })
  return { ask, close: async () => { socket.close(); await reading } }
}
