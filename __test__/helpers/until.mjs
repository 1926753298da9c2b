import { setTimeout } from 'node:timers/promises'

/** Looks again and again until `look` gives something truthy, and resolves with that. For what no event tells. */
export async function until (look) {
  for (;;) {
    const found = look()
    if (found) return found
    await setTimeout(2, undefined, { ref: false }) // a test that has failed should not go on for ever
  }
}
