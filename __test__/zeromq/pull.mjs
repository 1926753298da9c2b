// A PULL of zeromq.js. See helpers/foreign.mjs for how to talk to it, and helpers/interop.mjs for its options.
import { once } from 'node:events'
import { Pull } from 'zeromq'
import { Tally } from '../helpers/tally.mjs'
import { attach, tell } from './peer.mjs'

const options = JSON.parse(process.argv.at(-1))
const socket = new Pull(options.socket)
await attach(socket, options)

const tally = new Tally()
for (let index = 0; index < options.count; index++) {
  if (index === options.pauseAfter) {
    tell({ paused: index })
    await once(process.stdin, 'data')
  }
  const job = await socket.receive()
  if (options.prints) tell({ job: job.map(String) })
  tally.add(job)
}
tell({ tally: tally.get() })
socket.close()
process.stdin.destroy()
