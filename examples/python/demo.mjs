// npm run example:python: Python (pyzmq) and zeropipe at the two ends, whoever pushes and whoever binds. With shorter pauses.
import { runner } from '../run.mjs'
import { findPython } from './find-python.mjs'

const anyPort = 'tcp://127.0.0.1:*'
const env = { DEMO_PAUSE: '200', ...process.env }
const js = runner(import.meta.url, { env })
// Unbuffered: what it prints is waited for.
const py = runner(import.meta.url, { env, command: [findPython(), '-u'] })

/** Where a program that binds says it can be reached. */
const addressOf = async program => (await program.line(/^listening on /)).replace('listening on ', '')
const allEnd = programs => Promise.all(programs.map(({ ended }) => ended))

console.log('--- Python pushes and binds, zeropipe pulls and connects')
const producer = py('push.py', 'bind', anyPort, 1, 5)
await allEnd([producer, js('pull.mjs', 'connect', await addressOf(producer), 5)])

console.log('--- two of Python and carol of zeropipe push and connect, zeropipe pulls, binds, and tells them apart')
const sink = js('pull.mjs', 'bind', anyPort, 9)
const address = await addressOf(sink)
await allEnd([
  sink,
  py('push.py', 'connect', address, 1, 3),
  py('push.py', 'connect', address, 4, 6),
  js('push.mjs', 'connect', address, 7, 9, 'carol')
])

console.log('--- zeropipe pushes and binds, Python pulls and connects')
const pusher = js('push.mjs', 'bind', anyPort, 1, 5)
await allEnd([pusher, py('pull.py', 'connect', await addressOf(pusher), 5)])

console.log('--- zeropipe pushes and connects, Python pulls and binds')
const worker = py('pull.py', 'bind', anyPort, 5)
await allEnd([worker, js('push.mjs', 'connect', await addressOf(worker), 1, 5)])
