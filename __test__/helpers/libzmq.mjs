import { node } from './runtime.mjs'
import { program } from './program.mjs'

/** Runs a program with zeromq.js at hand as `zmq`: libzmq in a process of its own. */
export function libzmq (t, text) {
  return program(t, `
    import { createRequire } from 'node:module'
    const zmq = createRequire(${JSON.stringify(import.meta.url)})('zeromq')
    ${text}
  `, { command: [node] })
}
