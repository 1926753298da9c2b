// npm run bench [-- --short] [--only TEXT] [--beside NAMES] [--rounds N] [--json FILE]: zeropipe beside zeromq.js in the same run, in turn, each side in
// a process of its own; and beside whoever else is asked for: libzmq, crate (both need `cargo build --release` in benchmark/native), bun, deno. Prints
// medians, their spread (largest minus smallest) and ratios; bare numbers mean nothing on a shared machine. `npm run bench:chart` draws a chart of the file.
import { writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { cases } from './cases.mjs'
import { median } from './measure.mjs'

const { short, only, beside, rounds: asked, json } = parseArgs({
  options: {
    short: { type: 'boolean', default: false },
    only: { type: 'string', default: '' },
    beside: { type: 'string', default: '' },
    rounds: { type: 'string' },
    json: { type: 'string' }
  }
}).values
const rounds = Number(asked ?? (short ? 1 : 5))
const share = short ? 0.015 : 1
const names = { zeromq: 'zeromq.js', crate: 'the crate zeromq', ten: '10 workers', one: 'one endpoint', floor: 'nothing behind it' }

/** What each side did, round by round. Cases of one key are measured together. */
async function take (chosen) {
  const taken = new Map()
  for (const { key, sides, take } of chosen) {
    if (taken.has(key)) continue
    const results = sides.map(() => [])
    for (let round = 0; round < rounds; round++) {
      for (const [index, side] of sides.entries()) results[index].push(await take({ side, share }))
    }
    taken.set(key, results)
    process.stderr.write('.')
  }
  process.stderr.write('\n')
  return taken
}

/** The result of a case. */
function judge ({ group, name, unit, key, sides, pick = result => result, atLeast, atMost }, taken) {
  const [ours, theirs] = taken.get(key).map(results => results.map(pick))
  const ratio = theirs && median(ours.map((own, round) => own / theirs[round]))
  const value = ratio ?? median(ours)
  const isMet = value >= (atLeast ?? -Infinity) && value <= (atMost ?? Infinity)
  return { group, name, unit, ours, beside: sides[1], theirs, ratio, atLeast, atMost, isMet }
}

const units = { B: [1e6, 'MB'], ms: [1, 'ms'], us: [1, 'us'], '/s': [1, ''] }

function amountOf (value, unit) {
  const [scale, name] = units[unit]
  const scaled = value / scale
  const text = scaled < 1000 ? Number(scaled.toPrecision(3)).toString() : Math.round(scaled).toLocaleString('en-US')
  return `${text} ${name}`.trim()
}

function cell (list, unit) {
  if (list === undefined) return ''
  const spread = (Math.max(...list) - Math.min(...list)) / Math.abs(median(list))
  return amountOf(median(list), unit) + (list.length > 1 ? ` (${(100 * spread).toFixed(0)} %)` : '')
}

function targetOf ({ ratio, atLeast, atMost, isMet, unit }) {
  if (atLeast === undefined && atMost === undefined) return ''
  const most = () => ratio === undefined ? amountOf(atMost, unit) : Number(atMost.toFixed(2))
  const wanted = atLeast !== undefined ? `>= ${atLeast}` : `<= ${most()}`
  return short ? wanted : `${wanted} ${isMet ? '(met)' : '(not met)'}`
}

const row = cells => console.log(`| ${cells.join(' | ')} |`)

function print (results) {
  row(['', '', 'zeropipe', 'beside', '', 'ratio', 'target'])
  row(Array(7).fill('---'))
  let group
  for (const result of results) {
    const { name, unit, ours, beside, theirs, ratio } = result
    const other = beside === undefined ? '' : names[beside] ?? beside
    row([result.group === group ? '' : result.group, name, cell(ours, unit), other, cell(theirs, unit), ratio?.toFixed(2) ?? '', targetOf(result)])
    group = result.group
  }
}

const chosen = cases
  .filter(({ group, name }) => `${group}: ${name}`.includes(only))
  .filter(({ asked }) => asked === undefined || beside.split(',').includes(asked))
  .map((one, index) => ({ sides: ['zeropipe', 'zeromq'], ...one, key: one.key ?? index }))
  .map(one => ({ ...one, key: `${one.key} ${one.sides}` }))
const taken = await take(chosen)
const results = chosen.map(one => judge(one, taken))
print(results)
if (json !== undefined) {
  const { version, platform, arch } = process
  writeFileSync(json, JSON.stringify({ date: new Date().toISOString(), node: version, platform, arch, cores: availableParallelism(), rounds, results }, null, 2) + '\n')
}
