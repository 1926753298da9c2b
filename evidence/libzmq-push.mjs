// node libzmq-push.mjs push <jobs> <size> <peers>

import { Push } from 'zeromq'

import { print, sendAll } from './stdio.mjs'

const [jobs, size, peers] = process.argv.slice(3).map(Number)
const socket = new Push()
let missing = peers
const shaken = new Promise(resolve => socket.events.on('handshake', () => --missing === 0 && resolve()))
await socket.bind('tcp://127.0.0.1:*')
print(`listening ${socket.lastEndpoint}`)
await shaken
await sendAll(jobs, size, job => socket.send(job))
