// npm run bench [-- --short]: jobs a second from one process to another, zeropipe beside zeromq.js in the same run, in turn,
// each side in a process of its own. Prints medians and the ratio; bare times mean nothing on a shared machine.
import { parseArgs } from 'node:util'
import { measure, median } from './measure.mjs'

const { short } = parseArgs({ options: { short: { type: 'boolean', default: false } } }).values
const rounds = short ? 1 : 5
const libraries = ['zeropipe', 'zeromq']
const cases = [
  { size: 16, counts: { zeropipe: 4_000_000, zeromq: 500_000 } },
  { size: 128, counts: { zeropipe: 4_000_000, zeromq: 500_000 } },
  { size: 1024, counts: { zeropipe: 1_000_000, zeromq: 300_000 } },
  { size: 64 * 1024, counts: { zeropipe: 20_000, zeromq: 20_000 } },
  { size: 1024 * 1024, counts: { zeropipe: 1_500, zeromq: 1_500 } }
]

const spread = list => `${(100 * (Math.max(...list) - Math.min(...list)) / median(list)).toFixed(0)} %`

console.log('| bytes a job | zeropipe jobs/s | spread | zeromq.js jobs/s | spread | ratio |')
console.log('| --- | --- | --- | --- | --- | --- |')
for (const { size, counts } of cases) {
  const rates = { zeropipe: [], zeromq: [] }
  for (let round = 0; round < rounds; round++) {
    for (const library of libraries) {
      rates[library].push(await measure({ library, count: short ? counts[library] / 10 : counts[library], size }))
    }
  }
  const [ours, theirs] = libraries.map(library => median(rates[library]))
  const cell = rate => Math.round(rate).toLocaleString('en-US')
  console.log(`| ${size} | ${cell(ours)} | ${spread(rates.zeropipe)} | ${cell(theirs)} | ${spread(rates.zeromq)} | ${(ours / theirs).toFixed(2)} |`)
}
