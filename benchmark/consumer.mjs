// node consumer.mjs LIBRARY COUNT ADDRESS [SKIP]: pulls, and tells how long it took from the first job, or a later one, to the last.
const [library, count, address, skip = '0'] = process.argv.slice(2)
const { openPull } = await import(`./peers/${library}.mjs`)

const { jobs, close } = await openPull(address)
let left = Number(count)
const first = left - Number(skip)
let began
for await (const [frame] of jobs) {
  if (left === first) began = performance.now()
  if (--left === 0 || frame === undefined) break
}
process.send(performance.now() - began)
await close()
process.disconnect()
