// Forwards connections to an address, as slowly as asked, until it is told to stop: a slow line, or one that was cut.
import { once } from 'node:events'
import net from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

/** What is written at once: a slow line brings little, but often. Runtimes read up to 512 KiB. */
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
  const server = net.createServer({ noDelay: true }, near => {
    const far = net.connect({ host: hostname, port: Number(port), noDelay: true })
    forward(keep(near), keep(far))
    forward(far, near)
  })
  function forward (from, to) {
    from.on('error', () => to.destroy()).on('close', () => to.end())
    from.on('data', async bytes => {
      from.pause()
      for (let at = 0; at < bytes.length && !isCut; at += PIECE) {
        const piece = bytes.subarray(at, at + PIECE)
        await new Promise(resolve => to.write(piece, resolve)) // also if it has ended, which `close` tells
        if (rate < Infinity) await sleep(1000 * piece.length / rate)
      }
      if (!isCut) from.resume()
    })
  }
  t.after(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { address: `tcp://127.0.0.1:${server.address().port}`, cut: () => { isCut = true } }
}
