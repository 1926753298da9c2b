// node worker.mjs [NAME]: takes jobs one by one, until it is told to end; it finishes the one in hand.
import { setTimeout as sleep } from 'node:timers/promises'
import { pull, close } from 'zeropipe'

const [name = 'worker'] = process.argv.slice(2)
const pause = Number(process.env.DEMO_PAUSE ?? 2000)

process.once('SIGTERM', () => close())
for await (const [msg] of pull()) {
  await sleep(pause)
  console.log(`${name}: Received Job ${msg}`)
}
