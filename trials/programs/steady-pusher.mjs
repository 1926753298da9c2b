// Pushes numbers until it is told to leave; delivers them all, says how many there were, and ends.
import { pipe } from '../../index.js'

const [place, index] = process.argv.slice(2)
const first = index * 10_000_000
const jobs = pipe({ push: place, highWaterMark: { messages: 1000 } })
let isLeaving = false
process.once('message', () => { isLeaving = true })
let count = 0
while (!isLeaving) await jobs.push(first + count++)
await jobs.close()
process.send(count, () => process.disconnect())
