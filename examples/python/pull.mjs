// node pull.mjs bind|connect ADDRESS COUNT: takes so many jobs, works on them one by one, tells who sent each, and ends.
import { setTimeout as sleep } from 'node:timers/promises'
import { pipe } from 'zeropipe'

const [how, address, count] = process.argv.slice(2)
const pause = Number(process.env.DEMO_PAUSE ?? 2000)
const { pull, ready, stats } = pipe({ pull: { [how]: address } })

await ready()
if (how === 'bind') console.log(`listening on ${stats().pull.bound[0]}`)

let left = Number(count)
for await (const { job: [text], from } of pull({ info: true })) {
  await sleep(pause)
  // A name is what a zeropipe pusher has as its option `identity`. A PUSH of pyzmq tells none, even if its IDENTITY is set.
  console.log(`received ${text} from ${from.identity || from.address}`)
  if (--left === 0) break
}
