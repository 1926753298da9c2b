// node zeropipe-pull.mjs pull bind | pull connect <endpoint> [hold]

import zeropipe from '../index.js'

import { print, work } from './stdio.mjs'

const [, how, endpoint, hold] = process.argv.slice(2)
const end = how === 'bind' ? { bind: 'tcp://127.0.0.1:*' } : { connect: endpoint }
const { on, ready, pull } = zeropipe.pipe({ pull: end })
on('listening', ({ address }) => print(`listening ${address}`))
await ready()
await work(pull(), hold)
