import { pipe } from '../index.js'
import { hold, makeLogs, sleep, start } from './crew.mjs'

export const title = 'Eight workers, one killed every 50 to 200 ms'

export async function run (short) {
  const count = short ? 100_000 : 1_000_000
  const logs = makeLogs()
  const jobs = pipe({ push: 'tcp://127.0.0.1:*' })
  await jobs.ready()
  const [address] = jobs.stats().push.bound
  const hire = () => start('logging-worker', address, logs.next())
  const workers = Array.from({ length: 8 }, hire)
  let kills = 0
  let isOver = false
  const killing = (async () => {
    for (;;) {
      await sleep(50 + 150 * Math.random())
      if (isOver) return
      const index = Math.floor(Math.random() * workers.length)
      await workers[index].kill()
      workers[index] = hire()
      kills++
    }
  })()
  await jobs.ready({ pullers: 8 })
  for (let number = 0; number < count; number++) await jobs.push(number)
  await jobs.drain()
  isOver = true
  await killing
  const { done, redelivered, dead } = jobs.stats().push
  await jobs.close()
  for (const worker of workers) await worker.kill()

  const times = new Uint8Array(count)
  for (const number of logs.numbers()) times[number]++
  const lost = times.filter(time => time === 0).length
  const repeats = times.reduce((sum, time) => sum + Math.max(0, time - 1), 0)
  console.log(`${count} jobs, ${kills} kills: ${lost} lost, ${repeats} done more than once, ${redelivered} sent again, ${dead} dead`)
  hold(lost === 0, 'a job was lost')
  hold(done === count && dead === 0, 'a job was not acknowledged')
  // Only what a killed worker had begun with and not yet acknowledged may be done twice.
  hold(repeats <= redelivered, 'a job was repeated that no killed worker had')
}
