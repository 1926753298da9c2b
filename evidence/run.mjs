// npm run evidence [-- <version of the zeromq crate>]
//
// Puts the `zeromq` crate, libzmq and zeropipe to the tests that decided whose wire zeropipe speaks:
// docs/decisions/0001-our-own-wire.md. It reports and never gates: only being unable to run is an error.

import { build } from './crate.mjs'
import { killAll } from './program.mjs'
import { afterHandshake, beforeHandshake } from './rows/announce.mjs'
import { hooks } from './rows/hooks.mjs'
import { killedWorker } from './rows/kill.mjs'
import { stalledPeer, stalledPeerGoes, stalledPeerGoesTwoThreads, stalledWorker } from './rows/stall.mjs'
import { crate, libzmq, zeropipe } from './systems.mjs'

const ROWS = [
  beforeHandshake,
  afterHandshake,
  stalledPeer,
  stalledWorker,
  stalledPeerGoes,
  stalledPeerGoesTwoThreads,
  killedWorker,
  hooks
]

/** The measuring itself takes a minute; what hasn't begun after this is left out. */
const TIME = 140_000

for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1))

const candidate = crate(buildOrGiveUp(process.argv[2]))
const systems = [candidate, libzmq(), zeropipe()]
const end = Date.now() + TIME
const results = []
for (const row of ROWS) results.push(await compare(row))
print(results)
conclude(results)
process.exit()

function buildOrGiveUp (version) {
  try {
    return build(version)
  } catch (error) {
    console.error(`can't build the crate's program: ${error.message}`)
    process.exit(1)
  }
}

async function compare (row) {
  const cells = []
  for (const system of systems) cells.push(system ? await measure(row, system) : { text: '-' })
  return { row, cells }
}

async function measure (row, system) {
  if (Date.now() > end) return { passes: false, text: 'not measured: out of time' }
  process.stderr.write(`${system.name}: ${row.test}\n`)
  try {
    return await row.measure(system)
  } catch (error) {
    return { passes: false, text: `not measured: ${error.message}` }
  } finally {
    await killAll()
  }
}

function print (results) {
  const names = [candidate.name, systems[1]?.name ?? 'libzmq', 'zeropipe']
  printRow(['test', ...names, 'needed'])
  printRow(['---', '---', '---', '---', '---'])
  for (const { row, cells } of results) printRow([row.test, ...cells.map(emphasise), row.needed])
  console.log('\nBold: not what is needed.')
  console.log('Not reprinted: the speed of a batching addon on top of the crate, because that addon is gone.\n')
}

function printRow (cells) {
  console.log(`| ${cells.map(cell => cell.replaceAll('|', '\\|').replaceAll('\n', ' ')).join(' | ')} |`)
}

function emphasise ({ passes, text }) {
  return passes === false ? `**${text}**` : text
}

function conclude (results) {
  const measured = results.map(({ cells: [ofCrate] }) => ofCrate).filter(({ passes }) => passes !== undefined)
  const failed = measured.filter(({ passes }) => !passes).length
  const decision = 'docs/decisions/0001-our-own-wire.md'
  console.log(
    failed === 0
      ? `Every measured row passes for ${candidate.name}: take the decision in ${decision} again.`
      : `${candidate.name} fails ${failed} of ${measured.length} measured rows: ${decision} stands.`
  )
}
