import { fileURLToPath } from 'node:url'
import { interop } from './helpers/interop.mjs'
import { node } from './helpers/runtime.mjs'

// In processes of their own and always with Node: zeromq.js runs nowhere else.
const script = name => fileURLToPath(new URL(`zeromq/${name}.mjs`, import.meta.url))

interop('zeromq.js', {
  push: [node, script('push')],
  pull: [node, script('pull')],
  smallQueue: { receiveHighWaterMark: 2 }
})
