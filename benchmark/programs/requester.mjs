// Asks, so many at a time, or pushes and waits for what is pushed back; says how long each took, and all of them together.
import { args, library, makeJob, part, quantiles, say } from './side.mjs'

const { count, inFlight } = args
const { ask, close } = await (args.pushes ? library.openPing(args.address) : library.openRequest(args.address, inFlight))
const body = makeJob(args)

/** So many requests, as many at a time; how long each took. */
async function askAll (count) {
  const took = []
  let left = count
  const one = async () => {
    while (left-- > 0) {
      const began = performance.now()
      await ask(body)
      took.push(performance.now() - began)
    }
  }
  await Promise.all(Array.from({ length: inFlight }, one))
  return took
}

await askAll(Math.ceil(count / 5)) // until all code is warm
const began = performance.now()
const took = await askAll(count)
const milliseconds = performance.now() - began
const [p50, p99, p999] = quantiles(took, [0.5, 0.99, 0.999])
say({ rate: count / milliseconds * 1000, p50, p99, p999 })
await close()
part()
