// npm run demo: the article's program in one process, then as one producer with two workers. With shorter pauses.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'

const env = { DEMO_PAUSE: '200', ...process.env }

/** Runs a program of this folder and prints what it prints; `line(text)` resolves when it has printed that. */
function run (file, ...args) {
  const child = spawn(process.execPath, [new URL(file, import.meta.url).pathname, ...args.map(String)], { env, stdio: ['ignore', 'pipe', 'inherit'] })
  const printed = []
  const waiting = []
  const tell = () => {
    for (const one of waiting.splice(0)) printed.includes(one.text) ? one.resolve() : waiting.push(one)
  }
  createInterface({ input: child.stdout }).on('line', text => {
    console.log(text)
    printed.push(text)
    tell()
  })
  const ended = once(child, 'exit').then(([code, signal]) => {
    if (code !== 0) throw new Error(`${file} ended with ${signal ?? code}`)
  })
  ended.catch(() => {})
  const line = text => Promise.race([
    new Promise(resolve => { waiting.push({ text, resolve }); tell() }),
    ended.then(() => { throw new Error(`${file} ended without printing ${JSON.stringify(text)}`) })
  ])
  const stop = () => { child.kill('SIGTERM'); return ended }
  return { line, ended, stop }
}

console.log('--- one process pushes ten jobs at once and works on one at a time')
const program = run('one-process.mjs')
await program.line('Received Job ok 10')
await program.stop()

console.log('--- one producer and two workers, which were there first, take turns')
const workers = [run('worker.mjs', 'A'), run('worker.mjs', 'B')]
await run('producer.mjs', 1, 10, 2).ended
await Promise.race([workers[0].line('A: Received Job ok 10'), workers[1].line('B: Received Job ok 10')])
await Promise.race([workers[0].line('A: Received Job ok 9'), workers[1].line('B: Received Job ok 9')])

console.log('--- worker A ends, B carries on with a new producer')
await workers[0].stop()
await run('producer.mjs', 11, 15, 1).ended
await workers[1].line('B: Received Job ok 15')
await workers[1].stop()
