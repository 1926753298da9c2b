// Pulls, by as many pipes as it is told. Says where it listens; then, if it is told how many jobs there are, when the first (or a later one) and the
// last came; else every now and then how many have come so far, and when.
import { args, cpu, heard, library, now, part, say } from './side.mjs'

const { count, each = 1, skip = 0 } = args
const pipes = await Promise.all(Array.from({ length: each }, () => library.openPull(args)))
say(pipes[0].address ?? null)
let [came, began, before] = [0, 0, undefined]
const tell = () => say({ came, began, ended: now(), cpu: cpu(before) })

async function pull (jobs) {
  for await (const [frame] of jobs) {
    if (came++ === skip) [began, before] = [now(), process.cpuUsage()]
    if (came === count || frame === undefined) return tell()
  }
}

/** As many at a time as there are. */
async function pullBatches (batches) {
  for await (const jobs of batches) {
    if (came === 0) [began, before] = [now(), process.cpuUsage()]
    for (const [frame] of jobs) if (++came === count || frame === undefined) return tell()
  }
}

if (count === undefined) {
  let told = 0
  setInterval(() => { if (came > told) { tell(); told = came } }, 10).unref()
}
const pulling = Promise.all(pipes.map(({ jobs }) => args.batch === undefined ? pull(jobs) : pullBatches(jobs)))
await heard()
await Promise.all(pipes.map(({ close }) => close()))
await pulling
part()
