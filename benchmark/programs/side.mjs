// What the programs have in common.
export const args = JSON.parse(process.argv[2])

/** Where the library that is measured is used as its users use it. */
export const library = args.library && await import(`../peers/${args.library}.mjs`)

/** Now, for all processes of the machine, in milliseconds. */
export const now = () => performance.timeOrigin + performance.now()

export const say = message => process.send(message)

/** What is said to this program next. */
export const heard = () => new Promise(resolve => process.once('message', resolve))

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
