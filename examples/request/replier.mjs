// node replier.mjs ADDRESS [NAME]: connects, and answers requests one by one until it is told to end; it finishes the one in hand.
import { setTimeout as sleep } from 'node:timers/promises'
import { pipe } from 'zeropipe'

const [address, name = 'replier'] = process.argv.slice(2)
const pause = Number(process.env.DEMO_PAUSE ?? 1000)
const { reply, close } = pipe({ reply: { connect: address } })

process.once('SIGTERM', () => close())
await reply(async ([question]) => {
  console.log(`${name} works on ${question}`)
  await sleep(pause) // stands for work
  if (String(question) === 'request 4') throw new Error(`${name} can't do ${question}`)
  return `${name} has done ${question}`
})
