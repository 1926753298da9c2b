// Pushes many jobs in one tick and tells what that cost: the time until all are accepted (of those
// to a full queue: until all wait), and how far the memory rose at its peak.
import { pipe } from '../../index.js'

const [way, kind, count] = process.argv.slice(2)
const { signal } = new AbortController()
const isFull = way === 'to a full queue'

const { push, ready, close } = pipe({ push: 'tcp://127.0.0.1:*', highWaterMark: { messages: isFull ? 1000 : Number(count) } })
const pushes = {
  text: i => push(`job number ${i}`),
  frames: i => push([`job number ${i}`, i]),
  signal: i => push(`job number ${i}`, { signal })
}
// All parts are loaded, in each of the ways.
const other = pipe('tcp://127.0.0.1:*')
await other.push('', { signal })
if (way !== 'before the end is open') await ready()

const before = process.memoryUsage().rss
const began = performance.now()
let last
for (let i = 0; i < Number(count); i++) last = pushes[kind](i)
if (!isFull) await last
const milliseconds = performance.now() - began
process.send({ milliseconds, bytes: process.resourceUsage().maxRSS * 1024 - before })

process.on('unhandledRejection', () => {}) // of those that wait
process.removeAllListeners('warning').on('warning', () => {}) // of those that are given up
process.disconnect()
await Promise.all([close({ linger: 0 }), other.close({ linger: 0 })])
