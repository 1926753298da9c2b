// node requester.mjs LIBRARY COUNT SIZE IN_FLIGHT ADDRESS: asks, and tells how long each request took and all of them together.
const [library, count, size, inFlight, address] = process.argv.slice(2)
const { openRequest } = await import(`./peers/${library}.mjs`)

const { ask, close } = await openRequest(address, Number(inFlight))
const body = Buffer.alloc(Number(size), 'x')

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
  await Promise.all(Array.from({ length: Number(inFlight) }, one))
  return took
}

await askAll(Math.ceil(count / 5)) // until all code is warm
const began = performance.now()
const took = await askAll(Number(count))
const milliseconds = performance.now() - began
took.sort((a, b) => a - b)
const [p50, p99] = [0.5, 0.99].map(share => took[Math.floor(took.length * share)])
process.send({ rate: count / milliseconds * 1000, p50, p99 })
await close()
process.disconnect()
