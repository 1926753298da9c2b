import { median } from '../benchmark/measure.mjs'
import { start } from './crew.mjs'

export const title = 'What a push that waits costs: many that nobody awaits, in one tick, beside as many that are taken at once'

const FAST = 'to an open end with room'
const SLOW = ['before the end is open', 'to a full queue']
/** The jobs: a short text; one of two frames; and a short text with a signal. */
const KINDS = ['text', 'frames', 'signal']

export async function run (short) {
  const count = short ? 40_000 : 400_000
  const rounds = short ? 1 : 5
  for (const kind of KINDS) {
    for (const slow of SLOW) {
      const seen = { [FAST]: [], [slow]: [] }
      for (let round = 0; round < rounds; round++) {
        for (const way of round % 2 === 0 ? [FAST, slow] : [slow, FAST]) seen[way].push(await measure(way, kind, count))
      }
      const ratio = what => (middle(seen[slow], what) / middle(seen[FAST], what)).toFixed(2)
      console.log(`${count} pushes (${kind}) ${slow}: ${ratio('milliseconds')} times as long, ${ratio('bytes')} times the memory of those ${FAST} ` +
        `(${Math.round(middle(seen[FAST], 'milliseconds'))} ms, ${Math.round(middle(seen[FAST], 'bytes') / 1e6)} MB)`)
    }
  }
}

const middle = (all, what) => median(all.map(one => one[what]))

async function measure (way, kind, count) {
  const { said, ended } = start('waiting-pushes', way, kind, count)
  const seen = await said()
  await ended
  return seen
}
