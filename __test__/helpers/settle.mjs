import { setImmediate } from 'node:timers/promises'

/** Lets everything that needs no outside help happen. */
export async function turns (count = 20) {
  for (; count > 0; count--) await setImmediate()
}

/** How promises stand, after everything that needs no outside help has happened: 'pending', 'fulfilled' or 'rejected'. */
export async function standing (...promises) {
  const states = promises.map(() => 'pending')
  promises.forEach((promise, index) => promise.then(
    () => { states[index] = 'fulfilled' },
    () => { states[index] = 'rejected' }))
  await turns()
  return states
}
