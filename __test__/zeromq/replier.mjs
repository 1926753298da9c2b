// A REP or ROUTER of zeromq.js that gives back what it is asked. `dies` at the first request, or ends after `count` of them; `holds`
// so many before it answers them, the last first. See helpers/foreign.mjs for how to talk to it.
import { Reply, Router } from 'zeromq'
import { attach, tell } from './peer.mjs'

const options = JSON.parse(process.argv.at(-1))
const socket = options.kind === 'REP' ? new Reply(options.socket) : new Router(options.socket)
await attach(socket, options)

const held = []
for (let left = options.count; left !== 0; left--) {
  const request = await socket.receive()
  if (options.dies || options.prints) tell({ request: request.map(String) })
  if (options.dies) process.kill(process.pid, 'SIGKILL')
  held.push(request)
  if (held.length < (options.holds ?? 1)) continue
  for (const one of held.splice(0).reverse()) await socket.send(one)
}
tell({ done: true })
socket.close()
process.stdin.destroy()
