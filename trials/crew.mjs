// Child processes, and where the pipe is that they work on.
import { fork } from 'node:child_process'
import { once } from 'node:events'

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

/** A promise of correctness. */
export function hold (isTrue, what) {
  if (!isTrue) throw new Error(`broken: ${what}`)
}
