// node consumer.mjs LIBRARY COUNT ADDRESS: pulls, and tells how long it took from the first job to the last.
const [library, count, address] = process.argv.slice(2)
const { openPull } = await import(`./peers/${library}.mjs`)

const { jobs, close } = await openPull(address)
let left = Number(count)
let began
for await (const [frame] of jobs) {
  began ??= performance.now()
  if (--left === 0 || frame === undefined) break
}
process.send(performance.now() - began)
await close()
process.disconnect()
