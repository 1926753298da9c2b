// What the programs have in common, as processes or as threads.
import { parentPort } from 'node:worker_threads'

export const args = JSON.parse(process.argv[2])

/** Where the library that is measured is used as its users use it; in another runtime it is ours. */
export const library = args.library && await import(`../peers/${args.library === 'zeromq' ? 'zeromq' : 'zeropipe'}.mjs`)

/** Now, for all processes of the machine, in milliseconds. */
export const now = () => performance.timeOrigin + performance.now()

export const say = message => parentPort === null ? process.send(message) : parentPort.postMessage(message)

/** What is said to this program next. */
export const heard = () => new Promise(resolve => (parentPort ?? process).once('message', resolve))

/** There is nothing more to say: the program ends when it has nothing more to do. */
export const part = () => parentPort === null ? process.disconnect() : parentPort.unref()

/** Microseconds of CPU time since `before`, of all threads. */
export function cpu (before) {
  const { user, system } = process.cpuUsage(before)
  return user + system
}

/** A job of that size: text or bytes, in one frame or several. */
export function makeJob ({ size, text = false, frames = 1 }) {
  const frame = text ? 'x'.repeat(size) : Buffer.alloc(size, 'x')
  return frames === 1 ? frame : Array(frames).fill(frame)
}

/** Those at these shares of a list. */
export function quantiles (list, shares) {
  const sorted = Float64Array.from(list).sort()
  return shares.map(share => sorted[Math.floor(sorted.length * share)])
}
