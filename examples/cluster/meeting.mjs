// For both programs with workers of node:cluster.

/** A point that so many must have reached before any of them goes on: that is when `arrive(name)` and `everyone` resolve. */
export function meeting (count) {
  const names = new Set()
  let open
  const everyone = new Promise(resolve => { open = resolve })
  const arrive = name => {
    if (names.add(name).size === count) open()
    return everyone
  }
  return { arrive, everyone }
}
