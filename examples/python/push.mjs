// node push.mjs bind|connect ADDRESS FIRST LAST [NAME]: pushes numbered jobs to whoever pulls, and ends when all are delivered.
import { pipe } from 'zeropipe'

const [how, address, first, last, name] = process.argv.slice(2)
const { push, ready, stats } = pipe({ push: { [how]: address }, identity: name })

await ready()
if (how === 'bind') console.log(`listening on ${stats().push.bound[0]}`)

for (let number = Number(first); number <= Number(last); number++) {
  await push(`job ${number}`)
  console.log(`sent job ${number}`)
}
