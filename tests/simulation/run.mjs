// npm run simulate -- SEEDS [FIRST]: runs so many seeds of the simulation, optimised, and prints the history of the first that fails.
import { spawnSync } from 'node:child_process'

const [seeds = '100000', first = '1'] = process.argv.slice(2)
const { status } = spawnSync('cargo', ['test', '--release', '--quiet', '--test', 'simulation', 'whatever', '--', '--nocapture'], {
  stdio: 'inherit',
  env: { ...process.env, SIMULATION_SEEDS: seeds, SIMULATION_FIRST: first, RUST_BACKTRACE: '0' }
})
process.exitCode = status ?? 1
