// What the demos share: they run programs and go on when these have printed something. Not run by itself.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

/** How this runtime runs a program; Deno wants to be told what that may do. */
const own = [process.execPath, ...(process.versions.deno ? ['run', '--allow-all'] : [])]

/**
 * `run(file, ...args)` for the folder of `url`, with Node or with another `command`, as `['python3', '-u']`: runs a program and prints
 * what it prints. `line(text)`, or `line(/pattern/)`, resolves with the first such line once it has been printed; `ended` resolves when
 * all is printed and the exit code was 0; `stop()` asks the program to end, `kill()` doesn't.
 */
export function runner (url, { command: [command, ...options] = own, env = process.env } = {}) {
  return function run (file, ...args) {
    const child = spawn(command, [...options, fileURLToPath(new URL(file, url)), ...args.map(String)], { env, stdio: ['ignore', 'pipe', 'inherit'] })
    const end = () => child.kill()
    process.once('exit', end) // none outlives a demo that fails
    const printed = []
    const waiting = []
    const tell = () => {
      for (const one of waiting.splice(0)) {
        const found = printed.find(one.matches)
        found === undefined ? waiting.push(one) : one.resolve(found)
      }
    }
    createInterface({ input: child.stdout }).on('line', text => {
      console.log(text)
      printed.push(text)
      tell()
    })
    // Not 'exit', after which there may still be something to print.
    const ended = once(child, 'close').finally(() => process.off('exit', end)).then(([code, signal]) => {
      if (code !== 0) throw new Error(`${file} ended with ${signal ?? code}`)
    })
    ended.catch(() => {}) // whoever waits for it is told
    const line = wanted => Promise.race([
      new Promise(resolve => {
        waiting.push({ matches: text => wanted instanceof RegExp ? wanted.test(text) : text === wanted, resolve })
        tell()
      }),
      ended.then(() => { throw new Error(`${file} ended without printing ${wanted}`) })
    ])
    const stop = () => {
      // Deno takes a child whose `kill` was called for one that died of it.
      if (child.exitCode === null && child.signalCode === null) process.kill(child.pid, 'SIGTERM')
      return ended
    }
    return { line, ended, stop, kill: () => child.kill('SIGKILL') }
  }
}
