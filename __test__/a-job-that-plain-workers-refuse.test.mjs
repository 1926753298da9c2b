// A plain worker that refuses a job for its size ends the connection in the middle of it, which
// looks like any other loss. The job goes to whoever connects next; users are told, once.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { happening } from './helpers/happening.mjs'
import { libzmq } from './helpers/libzmq.mjs'
import { open } from './helpers/open.mjs'
import { ipcPlace } from './helpers/place.mjs'
import { dial } from './helpers/raw-peer.mjs'

const timeout = 30_000
const MiB = 2 ** 20
/** More than the systems of both sides take before anybody reads. */
const SIZE = 32 * MiB

/** A worker that leaves as soon as it has shaken hands, which is in the middle of its first job. */
async function refuse (t, type, address, end) {
  const peer = await dial(t, address)
  await peer.handshake(type)
  const left = happening(end, 'leave')
  peer.reset()
  await left
}

for (const [name, type, send] of [
  ['job', 'PULL', (end, body) => end.push(body)],
  ['request', 'ROUTER', (end, body) => end.request(body)]
]) {
  test(`a ${name} in the middle of which three connections have ended is told of, once`, { timeout }, async t => {
    const end = open(t, { push: { bind: 'tcp://127.0.0.1:*' }, request: { bind: 'tcp://127.0.0.1:*' } })
    await end.ready()
    const { push, request } = end.stats()
    const [address] = (type === 'PULL' ? push : request).bound
    const refused = []
    end.on('refused', event => refused.push(event))
    send(end, Buffer.alloc(SIZE)).catch(() => {})
    // A connection may end before anything of the job was written.
    let times = 0
    for (; refused.length === 0; times++) await refuse(t, type, address, end)
    assert.ok(times >= 3)
    for (let more = 0; more < 3; more++) await refuse(t, type, address, end)
    assert.equal(refused.length, 1)
    assert.equal(refused[0].code, 'ERR_ZEROPIPE_MESSAGE_TOO_LARGE')
    assert.match(refused[0].reason, /3 connections .* same message of 335\d{5} bytes.*ZMQ_MAXMSGSIZE/)
    const worker = await dial(t, address)
    await worker.handshake(type)
    const frames = await worker.nextJob()
    assert.equal(frames.at(-1).length, SIZE)
  })
}

test('a job over the limit of a libzmq PULL is told of, and done by one that takes it', { timeout }, async t => {
  const [small, large] = [ipcPlace(), ipcPlace()]
  const pushing = open(t, { push: { connect: [small, large] } })
  const refused = happening(pushing, 'refused', ({ code }) => code === 'ERR_ZEROPIPE_MESSAGE_TOO_LARGE')
  await pushing.push(Buffer.alloc(SIZE))
  const pull = (address, limit) => libzmq(t, `
    const pull = new zmq.Pull({ maxMessageSize: ${limit} })
    await pull.bind(${JSON.stringify(address)})
    const [job] = await pull.receive()
    console.log(job.length, 'bytes')
  `)
  pull(small, MiB)
  await refused
  await pull(large, -1).said(`${SIZE} bytes`)
})
