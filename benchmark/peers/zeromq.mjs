// zeromq.js as its users write it.
import { Pull, Push } from 'zeromq'

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
