// node producer.mjs [FIRST] [LAST] [WORKERS]: pushes jobs, once that many workers are there, and ends when all are delivered.
import { push, ready } from 'zeropipe'

const [first = 1, last = 10, workers = 0] = process.argv.slice(2).map(Number)

await ready({ pullers: workers })
for (let i = first; i <= last; i++) {
  await push(`ok ${i}`)
  console.log(`push ${i}`)
}
