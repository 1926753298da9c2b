// npm run bench [-- --short] [--only TEXT] [--rounds N] [--json FILE]: zeropipe beside zeromq.js in the same run, in turn, each side in a process of its
// own. Prints medians, their spread (largest minus smallest) and ratios; bare numbers mean nothing on a shared machine. `npm run bench:chart` draws a
// chart of the file.
import { writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { cases } from './cases.mjs'
import { median } from './measure.mjs'

const { short, only, rounds: asked, json } = parseArgs({
  options: { short: { type: 'boolean', default: false }, only: { type: 'string', default: '' }, rounds: { type: 'string' }, json: { type: 'string' } }
}).values
const rounds = Number(asked ?? (short ? 1 : 5))
const share = short ? 0.05 : 1
const libraries = ['zeropipe', 'zeromq']

/** What each library did, round by round. Cases of one key are measured together. */
async function take (chosen) {
  const taken = new Map()
  for (const { key, only, take } of chosen) {
    if (taken.has(key)) continue
    const results = Object.fromEntries(libraries.map(library => [library, []]))
    for (let round = 0; round < rounds; round++) {
      for (const library of libraries) if (only === undefined || only === library) results[library].push(await take({ library, share }))
    }
    taken.set(key, results)
    process.stderr.write('.')
  }
  process.stderr.write('\n')
  return taken
}

/** The result of a case. */
function judge ({ group, name, unit, key, pick = result => result, atLeast, atMost }, taken) {
  const lists = libraries.map(library => taken.get(key)[library].map(pick))
  const [ours, theirs] = lists
  const ratio = theirs.length === 0 ? undefined : median(ours.map((own, round) => own / theirs[round]))
  const value = ratio ?? median(ours)
  const isMet = value >= (atLeast ?? -Infinity) && value <= (atMost ?? Infinity)
  return { group, name, unit, zeropipe: ours, zeromq: theirs, ratio, atLeast, atMost, isMet }
}

const units = { B: [1e6, 'MB'], ms: [1, 'ms'], us: [1, 'us'], '/s': [1, ''] }

function amountOf (value, unit) {
  const [scale, name] = units[unit]
  const scaled = value / scale
  const text = scaled < 1000 ? Number(scaled.toPrecision(3)).toString() : Math.round(scaled).toLocaleString('en-US')
  return `${text} ${name}`.trim()
}

function cell (list, unit) {
  if (list.length === 0) return ''
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
  row(['', '', 'zeropipe', 'zeromq.js', 'ratio', 'target'])
  row(Array(6).fill('---'))
  let group
  for (const result of results) {
    const { name, unit, zeropipe, zeromq, ratio } = result
    row([result.group === group ? '' : result.group, name, cell(zeropipe, unit), cell(zeromq, unit), ratio?.toFixed(2) ?? '', targetOf(result)])
    group = result.group
  }
}

const chosen = cases
  .filter(({ group, name }) => `${group}: ${name}`.includes(only))
  .map((one, index) => ({ ...one, key: one.key ?? index }))
const taken = await take(chosen)
const results = chosen.map(one => judge(one, taken))
print(results)
if (json !== undefined) {
  const { version, platform, arch } = process
  writeFileSync(json, JSON.stringify({ date: new Date().toISOString(), node: version, platform, arch, cores: availableParallelism(), rounds, results }, null, 2) + '\n')
}
