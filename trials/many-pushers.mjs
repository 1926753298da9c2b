import { once } from 'node:events'
import { start } from './crew.mjs'

export const title = 'Four pushers, two workers of 100 ms, 40 jobs'

export async function run () {
  const least = 40 / 2 * 100
  for (const library of ['zeropipe', 'zeromq']) {
    const workers = [start('worker', library, 100), start('worker', library, 100)]
    const addresses = await Promise.all(workers.map(worker => worker.said()))
    let done = 0
    const finished = new Promise(resolve => {
      for (const { child } of workers) {
        child.on('message', ({ at }) => { if (++done === 40) resolve(at) })
      }
    })
    const pushers = [1, 2, 3, 4].map(() => start('producer', library, 10, ...addresses))
    await Promise.all(pushers.map(pusher => pusher.said()))
    const began = Date.now()
    for (const { child } of pushers) child.send('go')
    const milliseconds = await finished - began
    for (const { child } of pushers) child.send('done')
    await Promise.all(pushers.map(({ child }) => once(child, 'exit')))
    await Promise.all(workers.map(worker => worker.kill()))
    console.log(`${library.padEnd(8)} ${(milliseconds / least).toFixed(2)} times the least possible`)
  }
}
