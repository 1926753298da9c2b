/** The next event of a pipe with that name for which `matches`. */
export function happening (pipe, name, matches = () => true) {
  return new Promise(resolve => {
    pipe.on(name, function listener (event) {
      if (!matches(event)) return
      pipe.off(name, listener)
      resolve(event)
    })
  })
}

/** The next process warning with that code. */
export function warning (code) {
  return new Promise(resolve => {
    process.on('warning', function listener (warning) {
      if (warning.code !== code) return
      process.off('warning', listener)
      resolve(warning)
    })
  })
}
