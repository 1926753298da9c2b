// zeromq.js as its users write it.
import { Dealer, Pull, Push, Request, Router } from 'zeromq'

/** Where sockets listen: one address each, or a list if that was asked for. */
const addresses = new WeakMap()

async function open (Socket, { bind, connect }) {
  const socket = new Socket()
  const bound = []
  for (const address of [bind ?? []].flat()) {
    await socket.bind(address)
    bound.push(socket.lastEndpoint)
  }
  for (const address of [connect ?? []].flat()) socket.connect(address)
  addresses.set(socket, Array.isArray(bind) ? bound : bound[0])
  return socket
}

/** A socket takes one message at a time: others wait until that is sent. */
function inTurn (socket) {
  let sending = Promise.resolve()
  return job => {
    sending = sending.then(() => socket.send(job))
    return sending
  }
}

export async function openPush (args) {
  const socket = await open(Push, args)
  let accepted = 0
  const enough = new Promise(resolve => socket.events.on('handshake', () => { if (++accepted === args.consumers) resolve() }))
  return {
    address: addresses.get(socket),
    // The first send waits for a peer; more of them show only as connections that have shaken hands.
    ready: consumers => consumers > 1 ? enough : undefined,
    push: args.isAwaited === false ? inTurn(socket) : job => socket.send(job),
    close: async () => socket.close()
  }
}

export async function openPull (args) {
  const socket = await open(Pull, args)
  return { address: addresses.get(socket), jobs: socket, close: async () => socket.close() }
}

/** Pushes back what it pulls; its two addresses. */
export async function openEcho () {
  const bind = 'tcp://127.0.0.1:*'
  const [pull, push] = [await open(Pull, { bind }), await open(Push, { bind })]
  const echoing = (async () => { for await (const job of pull) await push.send(job) })()
  return { address: [pull.lastEndpoint, push.lastEndpoint], close: async () => { pull.close(); push.close(); await echoing } }
}

/** Pushes, and waits for what is pushed back. */
export async function openPing ([there, back]) {
  const [push, pull] = [await open(Push, { connect: there }), await open(Pull, { connect: back })]
  const ask = async body => {
    await push.send(body)
    return await pull.receive()
  }
  return { ask, close: async () => { push.close(); pull.close() } }
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
  const waiting = new Map()
  let last = 0
  const reading = (async () => {
    for await (const [id, , ...body] of socket) {
      const number = id.readUInt32LE()
      waiting.get(number)(body)
      waiting.delete(number)
    }
  })()
  const send = inTurn(socket)
  const ask = body => new Promise((resolve, reject) => {
    const id = Buffer.alloc(4)
    id.writeUInt32LE(++last)
    waiting.set(last, resolve)
    send([id, null, body]).catch(reject)
  })
  return { ask, close: async () => { socket.close(); await reading } }
}
