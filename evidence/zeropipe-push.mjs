// node zeropipe-push.mjs push <jobs> <size> <peers>

import zeropipe from '../index.js'

import { print, sendAll } from './stdio.mjs'

const [jobs, size, peers] = process.argv.slice(3).map(Number)
const { on, ready, push } = zeropipe.pipe({ push: { bind: 'tcp://127.0.0.1:*' } })
on('listening', ({ address }) => print(`listening ${address}`))
await ready({ pullers: peers })
await sendAll(jobs, size, push)
