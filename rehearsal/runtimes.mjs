// npm run test:runtimes [-- NAME ...]: the tests of __test__, unchanged, under other runtimes: each file in a process of its own, a few at a time.
import { spawn } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { pythonEnvironment } from '../examples/python/find-python.mjs'
import { runtimes } from './install.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const files = readdirSync(join(root, '__test__')).filter(name => name.endsWith('.test.mjs')).map(name => join('__test__', name))
/** Tests wait more than they work. */
const AT_A_TIME = 2 * availableParallelism() + 1
/** After so many milliseconds a file hangs. */
const LIMIT = 300_000

const env = { ...process.env, ...pythonEnvironment(), ZEROPIPE_REHEARSAL: '1' }

/** Runs one file: what it printed, and whether all of its tests passed. */
function run ({ program, test }, file) {
  const child = spawn(program(), [...test, file], { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'], timeout: LIMIT, killSignal: 'SIGKILL' })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', text => { output += text })
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code, signal) => resolve({ output, end: signal ?? code }))
  })
}

const names = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(runtimes)
const left = names.flatMap(name => files.map(file => ({ name, file })))
const broken = []
async function work () {
  for (let next; (next = left.shift()) !== undefined;) {
    const { name, file } = next
    const { output, end } = await run(runtimes[name], file)
    if (end === 0) continue
    broken.push(next)
    console.log(`\n== ${name}: ${file} ended with ${end}\n${output}`)
  }
}
await Promise.all(Array.from({ length: AT_A_TIME }, work))
if (env.ZEROPIPE_NO_PYTHON !== undefined) console.log(`not run: the tests with pyzmq: ${env.ZEROPIPE_NO_PYTHON}`)
for (const name of names) {
  const failed = broken.filter(one => one.name === name).map(({ file }) => basename(file))
  console.log(`${name}: ${files.length - failed.length} files passed, ${failed.length} failed ${failed.join(' ')}`)
}
process.exitCode = broken.length > 0 ? 1 : 0
