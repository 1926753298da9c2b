// The packages of the platforms: lib/runtime.js requires them by name, and one at most is installed.
declare module 'zeropipe-*' {
  const engine: typeof import('../../binding.js')
  export = engine
}
