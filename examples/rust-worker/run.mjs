// Node and Rust at the two ends of one pipe: first Node pushes and Rust pulls, then the other way round.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { pipe } from '../../index.js' // in a program of your own: from 'zeropipe'

const path = name => fileURLToPath(new URL(name, import.meta.url))
const jobs = Array.from({ length: 10 }, (_, i) => `ok ${i + 1}`)
const BUILD_MS = 600_000
const RUN_MS = 30_000

await build()
setTimeout(() => {
  console.error(`not done after ${RUN_MS} ms`)
  process.exit(1)
}, RUN_MS).unref()

console.log('Node pushes, Rust pulls:')
await nodeToRust()
console.log('Rust pushes, Node pulls:')
await rustToNode()

async function nodeToRust () {
  const p = pipe({ push: { bind: 'tcp://127.0.0.1:*' } })
  await p.ready()
  const worker = rust('pull', p.stats().push.bound[0])
  for (const job of jobs) await p.push(job)
  const output = await worker
  process.stdout.write(output)
  check(output)
  await p.close()
}

async function rustToNode () {
  const p = pipe({ pull: { bind: 'tcp://127.0.0.1:*' } })
  await p.ready()
  const pusher = rust('push', p.stats().pull.bound[0])
  let output = ''
  let count = 0
  for await (const [job] of p.pull()) {
    const line = `Received Job ${job}\n`
    process.stdout.write(line)
    output += line
    if (++count === jobs.length) break
  }
  check(output)
  await pusher
  await p.close()
}

function check (output) {
  const expected = jobs.map(job => `Received Job ${job}\n`).join('')
  if (output !== expected) throw new Error(`expected\n${expected}but got\n${output}`)
}

function build () {
  const options = ['--manifest-path', path('Cargo.toml'), '--target-dir', path('target')]
  return run('cargo', ['build', '--quiet', '--locked', ...options], { timeout: BUILD_MS })
}

/** Runs the Rust program as one end of the pipe; resolves to what it prints. */
function rust (way, address) {
  const program = process.platform === 'win32' ? 'rust-worker.exe' : 'rust-worker'
  return run(path(`target/debug/${program}`), [way, address, String(jobs.length)])
}

async function run (command, args, options) {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'], ...options })
  process.once('exit', () => child.kill()) // none outlives this program, however it ends
  let output = ''
  child.stdout.setEncoding('utf8').on('data', text => (output += text))
  const [code, signal] = await once(child, 'close')
  if (code !== 0) throw new Error(`${command} ${args[0]} ended with ${signal ?? code}`)
  return output
}
