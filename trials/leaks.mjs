import { hold, start } from './crew.mjs'

export const title = 'Pipes that open and close, and a pipe at full speed: memory, handles and descriptors stay as they are'

const MB = 1e6
/** What a heap and an allocator may keep, however often the same is done. */
const SLACK = 16 * MB

export async function run (short) {
  const pipes = short ? 200 : 1_000
  const milliseconds = short ? 1_000 : 60_000
  for (const [what, action, rounds, each] of [[`${pipes} pipes`, 'open', 5, pipes], ['full speed', 'run', short ? 5 : 10, milliseconds]]) {
    const { ended, child } = start('steady-process', action, rounds, each)
    const samples = []
    child.on('message', sample => samples.push(sample))
    const [code] = await ended
    hold(code === 0 && samples.length === rounds, `a process of ${what} ended with ${code} after ${samples.length} rounds`)
    judge(what, samples)
  }
}

/** The first round warms up; what the last ones have beyond the second has leaked. */
function judge (what, [, before, ...others]) {
  const after = others.at(-1)
  const least = Math.min(...others.slice(-2).map(({ memory }) => memory))
  console.log(`${what}, round after round: ${[before, ...others].map(({ memory }) => `${(memory / MB).toFixed(0)} MB`).join(', ')}; ` +
    `${after.descriptors} descriptors (${before.descriptors}), ${after.handles} handles (${before.handles}), ${after.threads} threads (${before.threads}); ${after.jobs} jobs`)
  hold(least - before.memory < SLACK, 'memory grows')
  // The second descriptor of a connection that a thread reads by itself comes and goes; what leaks does so at every round.
  for (const name of ['descriptors', 'handles', 'threads']) hold(after[name] - before[name] < others.length / 2, `${name} grow from ${before[name]} to ${after[name]}`)
}
