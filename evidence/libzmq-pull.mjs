// node libzmq-pull.mjs pull bind | pull connect <endpoint> [hold]

import { Pull } from 'zeromq'

import { print, work } from './stdio.mjs'

const [, how, endpoint, hold] = process.argv.slice(2)
const socket = new Pull()
if (how === 'bind') {
  await socket.bind('tcp://127.0.0.1:*')
  print(`listening ${socket.lastEndpoint}`)
} else {
  socket.connect(endpoint)
}
await work(socket, hold)
