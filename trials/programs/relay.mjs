// Passes bytes on to a port of this machine, both ways, so many milliseconds late.
import net from 'node:net'

const [port, late] = process.argv.slice(2).map(Number)
/** What is on its way at most, in bytes; a real link of 50 ms holds more. */
const MOST = 64 << 20

function pass (from, to) {
  let underway = 0
  from.on('data', chunk => {
    underway += chunk.length
    if (underway > MOST) from.pause()
    setTimeout(() => {
      underway -= chunk.length
      if (!to.destroyed) to.write(chunk)
      if (underway <= MOST) from.resume()
    }, late)
  })
  from.on('end', () => setTimeout(() => to.end(), late))
  from.on('error', () => to.destroy())
}

const server = net.createServer(socket => {
  const other = net.connect({ port, host: '127.0.0.1', noDelay: true })
  socket.setNoDelay()
  pass(socket, other)
  pass(other, socket)
})
server.listen(0, '127.0.0.1', () => process.send(`tcp://127.0.0.1:${server.address().port}`))
