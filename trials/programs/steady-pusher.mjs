// node steady-pusher.mjs PLACE FIRST: pushes numbers from FIRST on until it is told to leave; delivers them all, says how many there were, and ends.
import { pipe } from '../../index.js'

const [place, first] = process.argv.slice(2)
const jobs = pipe({ push: place, highWaterMark: { messages: 1000 } })
let isLeaving = false
process.once('message', () => { isLeaving = true })
let count = 0
while (!isLeaving) await jobs.push(Number(first) + count++)
await jobs.close()
process.send(count, () => process.disconnect())
