// Pushes `count` jobs as soon as all `consumers` are there; says where it listens, and in the end what it took.
import { args, cpu, heard, library, makeJob, part, say } from './side.mjs'

const { count, consumers, isAwaited = true } = args
const { address, ready, push, close } = await library.openPush(args)
say(address ?? null)
await ready(consumers)
const job = makeJob(args)
const before = process.cpuUsage()
if (isAwaited) {
  for (let left = count; left > 0; left--) await push(job)
} else {
  // As many at a time as somebody with a list of that many would push.
  for (let left = count; left > 0;) {
    const part = []
    for (; left > 0 && part.length < 1000; left--) part.push(push(job))
    await Promise.all(part)
  }
}
// Until the consumer has everything: zeromq.js may lose what is queued when its socket is closed.
await heard()
say(cpu(before))
await close()
part()
