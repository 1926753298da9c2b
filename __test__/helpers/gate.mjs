/** A promise that is settled from outside: `open(value)`, `fail(error)`; `passed` is the promise. */
export function gate () {
  const one = {}
  one.passed = new Promise((resolve, reject) => Object.assign(one, { open: resolve, fail: reject }))
  return one
}
