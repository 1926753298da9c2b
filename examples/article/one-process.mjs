// The article's program, without the file that hid the sockets: jobs are pushed at once and worked on one by one.
import { setTimeout as sleep } from 'node:timers/promises'
import { push, pull, close } from 'zeropipe'

const pause = Number(process.env.DEMO_PAUSE ?? 2000)

async function work () {
  for await (const [msg] of pull()) {
    await sleep(pause)
    console.log(`Received Job ${msg}`)
  }
}

process.once('SIGTERM', () => close())
const working = work()
for (let i = 1; i <= 10; i++) {
  await push(`ok ${i}`)
  console.log(`push ${i}`)
}
await working
