// Does nothing for a while, with a push and a pull that are connected; says how many microseconds of CPU time a second that takes.
import { setTimeout } from 'node:timers/promises'
import { args, cpu, library, makeJob, part, say } from './side.mjs'

const out = await library.openPush({ bind: 'tcp://127.0.0.1:*' })
const back = await library.openPull({ connect: out.address })
await out.ready(1)
await out.push(makeJob({ size: 16 }))
const loop = back.jobs[Symbol.asyncIterator]()
await loop.next()
await loop.return?.()
await setTimeout(500)
const [began, before] = [performance.now(), process.cpuUsage()]
await setTimeout(args.milliseconds)
say(cpu(before) / (performance.now() - began) * 1000)
await Promise.all([out.close(), back.close()])
part()
