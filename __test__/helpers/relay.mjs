// Forwards connections to an address, as slowly as asked, until it is told to stop: a slow line, or one that was cut.
import { once } from 'node:events'
import net from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

/** What is forwarded at once: the pause behind it is short even on a slow line. */
const PIECE = 16 * 1024

/** Forwards `rate` bytes a second each way. `cut()` forwards nothing any more, and closes nothing. */
export async function relay (t, address, rate = Infinity) {
  const { hostname, port } = new URL(address)
  const sockets = new Set()
  let isCut = false
  const keep = socket => {
    sockets.add(socket)
    return socket.on('close', () => sockets.delete(socket))
  }
  const server = net.createServer({ noDelay: true, highWaterMark: PIECE }, near => {
    const far = net.connect({ host: hostname, port: Number(port), noDelay: true, highWaterMark: PIECE })
    for (const [from, to] of [[near, far], [far, near]]) {
      keep(from).on('error', () => to.destroy())
      forward(from, to).catch(() => to.destroy()) // one of the two has ended
    }
  })
  async function forward (from, to) {
    for await (const piece of from) {
      if (isCut) await new Promise(() => {})
      if (!to.write(piece)) await once(to, 'drain')
      if (rate < Infinity) await sleep(1000 * piece.length / rate)
    }
    to.end()
  }
  t.after(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { address: `tcp://127.0.0.1:${server.address().port}`, cut: () => { isCut = true } }
}
