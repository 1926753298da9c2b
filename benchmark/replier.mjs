// node replier.mjs LIBRARY: tells its address on a channel, then answers each request with what was asked.
const [library] = process.argv.slice(2)
const { openReply } = await import(`./peers/${library}.mjs`)

const { address, close } = await openReply()
process.send(address)
process.once('message', async () => {
  await close()
  process.disconnect()
})
