// A pusher of zeropipe as a process of its own. See helpers/foreign.mjs for how to talk to it: each line of its input is a job.
import { createInterface } from 'node:readline'
import { pipe } from '../../index.js'

const { bind, connect, identity } = JSON.parse(process.argv.at(-1))
const { push, ready, stats } = pipe({ push: { bind, connect }, identity })
await ready()
process.stdout.write(`${JSON.stringify({ address: connect ?? stats().push.bound[0] })}\n`)
for await (const line of createInterface(process.stdin)) await push(line)
