import { race } from './race.mjs'

export const title = 'Twenty jobs of 200 ms, and a second worker that joins after 500 ms'

export async function run () {
  await race({ count: 20, paces: [200, 200], lateBy: 500 })
}
