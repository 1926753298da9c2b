// Each side of a measurement is a process of its own, from programs/ or, without JavaScript, from native/; or a thread of ours. What they tell each
// other goes over their channel.
import { fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'

/** Other runtimes that programs can run in, and how; the command may be told. */
const runtimes = {
  bun: { execPath: process.env.BUN ?? 'bun', execArgv: [] },
  deno: { execPath: process.env.DENO ?? 'deno', execArgv: ['run', '--allow-all'] }
}
const natives = ['libzmq', 'crate']

/** Starts a program with these arguments: on one core alone if it is told which, able to collect garbage when it likes if `gc`, as a thread if `thread`. */
export function start (name, args, { env = {}, core, gc = false, thread = false } = {}) {
  if (natives.includes(args.library)) return startNative(name, args)
  const script = new URL(`programs/${name}.mjs`, import.meta.url)
  const argv = [JSON.stringify(args)]
  if (thread) {
    const worker = new Worker(script, { argv })
    return side(name, worker, 'exit', message => worker.postMessage(message))
  }
  const execArgv = gc ? ['--expose-gc'] : []
  const pinned = core === undefined ? { execArgv } : { execPath: 'taskset', execArgv: ['--cpu-list', String(core), process.execPath, ...execArgv] }
  const child = fork(script, argv, { env: { ...process.env, ...env }, ...(runtimes[args.library] ?? pinned) })
  return side(name, child, 'exit', message => child.send(message))
}

function startNative (name, { library, bind, connect, count, size }) {
  const file = fileURLToPath(new URL('native/target/release/native-sides', import.meta.url))
  const child = spawn(file, [library, name, bind ?? connect, count, size ?? 0].map(String), { stdio: ['pipe', 'pipe', 'inherit'] })
  createInterface(child.stdout).on('line', line => child.emit('message', JSON.parse(line)))
  return side(name, child, 'close', () => child.stdin.write('\n'))
}

function side (name, source, ending, say) {
  const ended = once(source, ending)
  const failed = ended.then(([code, signal]) => { throw new Error(`${name} has ended before its time (${signal ?? code})`) })
  failed.catch(() => {})
  return {
    /** What it says next. */
    said: async () => (await Promise.race([once(source, 'message'), failed]))[0],
    /** All that it says from now on. */
    listen: heard => source.on('message', heard),
    say,
    ended,
    /** Rejects when it has ended. */
    failed
  }
}
