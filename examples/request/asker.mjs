// node asker.mjs REPLIERS COUNT: binds, waits for so many repliers, asks all at once, and prints each reply as it comes back.
import { pipe } from 'zeropipe'

const [repliers, count] = process.argv.slice(2).map(Number)
const { ready, request, stats, close } = pipe({ request: { bind: process.env.REQUESTS ?? 'tcp://127.0.0.1:7778' } })

await ready()
console.log(`listening on ${stats().request.bound[0]}`)
await ready({ repliers })
await Promise.all(Array.from({ length: count }, async (_, index) => {
  const question = `request ${index + 1}`
  console.log(`sent: ${question}`)
  try {
    const [answer] = await request(question, { timeout: 30_000 })
    console.log(`reply to ${question}: ${answer}`)
  } catch (error) {
    console.log(`no reply to ${question}: ${error.message}`) // what its handler threw, or that it took too long
  }
}))
await close()
