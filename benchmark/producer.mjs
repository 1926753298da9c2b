// node producer.mjs LIBRARY COUNT SIZE: tells its address on a channel, then pushes.
const [library, count, size] = process.argv.slice(2)
const { openPush } = await import(`./peers/${library}.mjs`)

const { address, ready, push, close } = await openPush()
process.send(address)
await ready()
const job = Buffer.alloc(Number(size), 'x')
for (let left = Number(count); left > 0; left--) await push(job)
// Until the consumer has everything: zeromq.js may lose what is queued when its socket is closed.
process.once('message', close)
