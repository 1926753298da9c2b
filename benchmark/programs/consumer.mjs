// Pulls. Says where it listens; then, if it is told how many jobs there are, when the first (or a later one) and the last came; else every now and
// then how many have come so far, and when.
import { args, cpu, heard, library, now, say } from './side.mjs'

const { count, skip = 0 } = args
const { address, jobs, close } = await library.openPull(args)
say(address ?? null)
let [came, began, before] = [0, 0, undefined]
const tell = () => say({ came, began, ended: now(), cpu: cpu(before) })

async function pull () {
  for await (const [frame] of jobs) {
    if (came++ === skip) [began, before] = [now(), process.cpuUsage()]
    if (came === count || frame === undefined) return tell()
  }
}

if (count === undefined) {
  let told = 0
  setInterval(() => { if (came > told) tell(), told = came }, 10).unref()
}
const pulling = pull()
await heard()
await close()
await pulling
process.disconnect()
