import { race } from './race.mjs'

export const title = 'Two workers, one takes 100 ms for a job, the other 1 ms'

export async function run (short) {
  const count = short ? 200 : 1000
  await race({ count, paces: [100, 1] })
}
