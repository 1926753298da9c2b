// Child processes, and the logs that outlive them.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Starts a program of this folder; `said` resolves with its next message. */
export function start (name, ...args) {
  const child = fork(new URL(`./programs/${name}.mjs`, import.meta.url), args.map(String))
  const ended = once(child, 'exit')
  return {
    child,
    ended,
    said: async () => (await once(child, 'message'))[0],
    kill: async () => {
      child.kill('SIGKILL')
      await ended
    }
  }
}

export const sleep = milliseconds => new Promise(resolve => setTimeout(resolve, milliseconds))

/** A folder for the logs of workers; `numbers()` yields what they have done, and removes it. */
export function makeLogs () {
  const directory = mkdtempSync(join(tmpdir(), 'zeropipe-trial-'))
  let count = 0
  return {
    directory,
    next: () => join(directory, `log-${count++}`),
    * numbers () {
      for (const name of readdirSync(directory).filter(name => name.startsWith('log-'))) {
        const log = readFileSync(join(directory, name))
        for (let at = 0; at + 4 <= log.length; at += 4) yield log.readUInt32LE(at)
      }
      rmSync(directory, { recursive: true })
    }
  }
}

/** A promise of correctness. */
export function hold (isTrue, what) {
  if (!isTrue) throw new Error(`broken: ${what}`)
}
