import { join } from 'node:path'
import { hold, makeLogs, sleep, start } from './crew.mjs'

export const title = 'Workers and pushers that restart in any order, under load'

export async function run (short) {
  const logs = makeLogs()
  const place = `ipc://${join(logs.directory, 'jobs')}`
  let closed = 0
  let kills = 0
  const hire = () => start('logging-worker', place, logs.next())
  const workers = [hire(), hire(), hire()]
  // Each pusher's numbers are its own: it has the thousand millions from there on.
  let pusher = start('steady-pusher', place, 0)
  const until = Date.now() + (short ? 8_000 : 60_000)
  const counts = []
  while (Date.now() < until) {
    await sleep(100 + 300 * Math.random())
    if (Math.random() < 0.7) {
      const index = Math.floor(Math.random() * workers.length)
      await workers[index].kill()
      workers[index] = hire()
      kills++
    } else {
      // A living pusher delivers what it has accepted before it goes.
      counts.push(await leave(pusher))
      pusher = start('steady-pusher', place, ++closed * SHARE)
    }
  }
  counts.push(await leave(pusher))
  const accepted = counts.reduce((sum, count) => sum + count, 0)
  for (const worker of workers) await worker.kill()

  const done = counts.map(count => new Uint8Array(count))
  for (const number of logs.numbers()) done[Math.floor(number / SHARE)][number % SHARE] = 1
  const lost = done.reduce((sum, list) => sum + list.filter(time => time === 0).length, 0)
  console.log(`${accepted} jobs of ${counts.length} pushers, ${kills} workers killed: ${lost} lost`)
  hold(lost === 0, 'a job was lost')
}

/** As many numbers as a pusher has. */
const SHARE = 10_000_000

async function leave (pusher) {
  pusher.child.send('leave')
  const count = await pusher.said()
  await pusher.ended
  return count
}
