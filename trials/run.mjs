// npm run trials [-- --short] [name ...]: what is promised of credit and acknowledgement, shown with real processes. Each trial prints
// what it saw; one that sees a promise of correctness broken fails. Times are printed as ratios and never judged.
import { parseArgs } from 'node:util'

const { values: { short }, positionals } = parseArgs({ options: { short: { type: 'boolean', default: false } }, allowPositionals: true })
const names = ['killed-workers', 'uneven-workers', 'late-worker', 'many-pushers', 'far-worker', 'restarts', 'leaks', 'cost', 'waiting-pushes']

for (const name of positionals.length > 0 ? positionals : names) {
  const { title, run } = await import(`./${name}.mjs`)
  console.log(`\n## ${title}\n`)
  await run(short)
}
