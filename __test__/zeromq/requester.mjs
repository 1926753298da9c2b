// A REQ or DEALER of zeromq.js: the same as pyzmq/requester.py. See helpers/foreign.mjs for how to talk to it.
import { createInterface } from 'node:readline'
import { Dealer, Request } from 'zeromq'
import { mix } from '../helpers/mix.mjs'
import { attach, tell } from './peer.mjs'

const options = JSON.parse(process.argv.at(-1))
const socket = options.kind === 'REQ' ? new Request(options.socket) : new Dealer(options.socket)
await attach(socket, options)

const envelope = index => [...Array.from({ length: index % 4 }, (_, number) => Buffer.from(`address ${number} of ${index}`)), Buffer.alloc(0)]
const equal = (one, other) => one.length === other.length && one.every((frame, at) => frame.equals(other[at]))
const order = (one, other) => Buffer.compare(Buffer.concat(one), Buffer.concat(other))

if (options.mix === undefined) {
  createInterface(process.stdin).on('line', async line => {
    await socket.send(JSON.parse(line))
    tell({ sent: true })
  })
  for await (const reply of socket) tell({ reply: reply.map(String) })
}
let right = 0
if (options.kind === 'REQ') {
  for (const job of mix(options.mix)) {
    await socket.send(job)
    right += equal(await socket.receive(), job)
  }
} else {
  const jobs = []
  for (const job of mix(options.mix)) {
    jobs.push([...envelope(jobs.length), ...job])
    await socket.send(jobs.at(-1))
  }
  const replies = []
  for (const _ of jobs) replies.push(await socket.receive())
  jobs.sort(order)
  right = replies.sort(order).filter((reply, index) => equal(reply, jobs[index])).length
}
tell({ right })
socket.close()
process.stdin.destroy()
