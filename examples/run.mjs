// For the demos: runs their programs.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

/**
 * `run(file, ...args)` for the folder of `url`: runs a program and prints what it prints. `line(text)` resolves when it has
 * printed that, `ended` when it has ended well.
 */
export function runner (url, env = process.env) {
  return function run (file, ...args) {
    const child = spawn(process.execPath, [fileURLToPath(new URL(file, url)), ...args.map(String)], { env, stdio: ['ignore', 'pipe', 'inherit'] })
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
    // Not 'exit', after which there may still be something to print.
    const ended = once(child, 'close').then(([code, signal]) => {
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
}
