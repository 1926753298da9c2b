// A ZMTP 3.0 peer made of raw bytes, because no library lets its user misbehave: https://rfc.zeromq.org/spec/23/

import net from 'node:net'
import { once } from 'node:events'

const GREETING = Buffer.alloc(64)
GREETING[0] = 0xff
GREETING[9] = 0x7f
GREETING[10] = 3
GREETING.write('NULL', 12)

const COMMAND = 0x04
const LONG = 0x02
const DEADLINE = 5_000

/** Connects and shakes hands as `type` ('PUSH' or 'PULL'); from then on nothing is read. */
export async function shakeHands (endpoint, type) {
  const peer = await greet(endpoint)
  peer.write(frame(COMMAND, ready(type)))
  await read(peer, bytes => bytes.length > 64 + 1 && bytes.length >= 64 + 2 + bytes[64 + 1])
  return peer
}

/** Connects and exchanges greetings, so that the next thing expected of it is READY. */
export async function greet (endpoint) {
  const { hostname, port } = new URL(endpoint)
  const peer = net.connect(Number(port), hostname)
  peer.setTimeout(DEADLINE, () => peer.destroy(new Error('no answer to the handshake')))
  await once(peer, 'connect')
  // The process under test may die of what it is sent: that is a result, not a failure of ours.
  peer.on('error', () => {})
  peer.write(GREETING)
  return peer
}

/** The head of a frame that says that `size` bytes follow. */
export function header (flags, size) {
  const bytes = Buffer.alloc(9)
  bytes[0] = flags | LONG
  bytes.writeBigUInt64BE(BigInt(size), 1)
  return bytes
}

export const announceCommand = size => header(COMMAND, size)
export const announceJob = size => header(0, size)

/** A whole job of one frame, as our own programs number them. */
export function job (number) {
  const body = Buffer.alloc(4)
  body.writeUInt32LE(number)
  return frame(0, body)
}

function frame (flags, body) {
  return Buffer.concat([Buffer.from([flags, body.length]), body])
}

function ready (type) {
  const property = (name, value) => {
    const length = Buffer.alloc(4)
    length.writeUInt32BE(value.length)
    return Buffer.concat([Buffer.from([name.length]), Buffer.from(name), length, Buffer.from(value)])
  }
  return Buffer.concat([Buffer.from([5]), Buffer.from('READY'), property('Socket-Type', type)])
}

/** Reads until `enough` and then stops reading, so that what follows stays in the kernel. */
async function read (peer, enough) {
  let bytes = Buffer.alloc(0)
  await new Promise((resolve, reject) => {
    const take = chunk => {
      bytes = Buffer.concat([bytes, chunk])
      if (!enough(bytes)) return
      peer.off('data', take).off('close', ended)
      resolve()
    }
    const ended = () => reject(new Error('the connection ended within the handshake'))
    peer.on('data', take).on('close', ended)
  })
  peer.pause()
  peer.setTimeout(0)
}
