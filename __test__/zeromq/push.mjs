// A PUSH of zeromq.js. See helpers/foreign.mjs for how to talk to it, and helpers/interop.mjs for its options.
import { createInterface } from 'node:readline'
import { Push } from 'zeromq'
import { mix } from '../helpers/mix.mjs'
import { Tally } from '../helpers/tally.mjs'
import { attach, tell } from './peer.mjs'

const options = JSON.parse(process.argv.at(-1))
const socket = new Push(options.socket)
await attach(socket, options)

if (options.mix !== undefined) {
  const tally = new Tally()
  for (const job of mix(options.mix)) {
    await socket.send(job)
    tally.add(job)
  }
  tell({ tally: tally.get() })
} else {
  for await (const line of createInterface(process.stdin)) await socket.send(line)
}
