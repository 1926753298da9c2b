// A peer that speaks ZMTP byte by byte over a plain socket (RFC 37), and so can do what no library would.
import { once } from 'node:events'
import net from 'node:net'

const MORE = 1
const LONG = 2
const COMMAND = 4

/** The 64 bytes that each side sends first. */
export function greeting ({ major = 3, minor = 1, mechanism = 'NULL' } = {}) {
  const bytes = Buffer.alloc(64)
  bytes.set([0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, major, minor])
  bytes.write(mechanism, 12)
  return bytes
}

/** A frame; `flags` are added to those that the rest asks for. */
export function frame (body, { more = false, command = false, flags = 0 } = {}) {
  const bytes = Buffer.from(body)
  const all = flags | (more ? MORE : 0) | (command ? COMMAND : 0)
  return Buffer.concat([bytes.length < 256 ? Buffer.from([all, bytes.length]) : header(bytes.length, all), bytes])
}

/** A long header that announces any length. */
export function header (length, flags = 0) {
  const bytes = Buffer.alloc(9)
  bytes[0] = flags | LONG
  bytes.writeBigUInt64BE(BigInt(length), 1)
  return bytes
}

/** All the frames of a job. */
export function job (...frames) {
  return Buffer.concat(frames.map((body, index) => frame(body, { more: index + 1 < frames.length })))
}

export function command (name, data = '') {
  return frame(Buffer.concat([Buffer.from([name.length]), Buffer.from(name), Buffer.from(data)]), { command: true })
}

export function ready (type, properties = {}) {
  const pairs = Object.entries({ 'Socket-Type': type, ...properties }).map(([name, value]) => {
    const length = Buffer.alloc(4)
    length.writeUInt32BE(Buffer.byteLength(value))
    return Buffer.concat([Buffer.from([name.length]), Buffer.from(name), length, Buffer.from(value)])
  })
  return command('READY', Buffer.concat(pairs))
}

/** `ttl` in tenths of a second. */
export function ping (ttl = 0, context = '') {
  return command('PING', Buffer.concat([Buffer.from([ttl >> 8, ttl & 255]), Buffer.from(context)]))
}

export class RawPeer {
  #socket
  #bytes = Buffer.alloc(0)
  #frames = []
  #waiting = []
  #greeted = false

  constructor (socket) {
    this.#socket = socket
    /** Resolves when the connection is over, however it ends. */
    this.closed = new Promise(resolve => socket.on('close', resolve))
    this.closed.then(() => this.#waiting.splice(0).forEach(resolve => resolve(undefined)))
    socket.on('error', () => {}) // 'close' follows
  }

  get isClosed () {
    return this.#socket.destroyed
  }

  send (...bytes) {
    return this.#socket.write(Buffer.concat(bytes))
  }

  /** Sends and resolves when the system has taken it. */
  async flush (...bytes) {
    await new Promise(resolve => this.#socket.write(Buffer.concat(bytes), resolve))
  }

  /** Greets and says READY, and reads nothing of what the other side says. */
  introduce (type, { minor = 1, properties } = {}) {
    this.stall()
    this.send(greeting({ minor }), ready(type, properties))
  }

  /** Greets and says READY, answers no PING, and resolves once the other side has said READY too. */
  async handshake (type, options) {
    this.introduce(type, options)
    const answer = await this.next()
    if (answer === undefined) throw new Error('the connection ended during the handshake')
    return answer
  }

  /** The next frame as { body, more, command }; undefined after the last. Only what somebody asks for is read. */
  next () {
    if (this.#frames.length > 0) return Promise.resolve(this.#frames.shift())
    if (this.#socket.destroyed) return Promise.resolve(undefined)
    return new Promise(resolve => {
      this.#waiting.push(resolve)
      this.#read()
    })
  }

  /** The bodies of the next job's frames as strings, commands left out; undefined after the last. */
  async nextJob () {
    const bodies = []
    for (;;) {
      const frame = await this.next()
      if (frame === undefined) return undefined
      if (frame.command) continue
      bodies.push(frame.body.toString())
      if (!frame.more) return bodies
    }
  }

  /** Reads no more, until the next `next`. */
  stall () {
    this.#socket.pause()
  }

  /** Reads and drops everything, so that the end of the connection is noticed. */
  readOn () {
    if (this.#waiting.length === 0) this.#waiting.push(() => { this.readOn() })
    this.#read()
  }

  /** Says that no more comes, as a process that ends. */
  end () {
    this.#socket.end()
  }

  /** Goes at once; what is unsent or unread is dropped. */
  destroy () {
    this.#socket.destroy()
  }

  /** Goes with a TCP reset. */
  reset () {
    this.#socket.resetAndDestroy()
  }

  #read () {
    if (this.#socket.listenerCount('data') === 0) this.#socket.on('data', bytes => this.#took(bytes))
    this.#socket.resume()
  }

  #took (bytes) {
    this.#bytes = this.#bytes.length === 0 ? bytes : Buffer.concat([this.#bytes, bytes])
    if (!this.#greeted) {
      if (this.#bytes.length < 64) return
      this.#greeted = true
      this.minor = this.#bytes[11]
      this.#bytes = this.#bytes.subarray(64)
    }
    let at = 0
    for (let found; (found = decode(this.#bytes, at)) !== null; at = found.end) this.#frames.push(found)
    this.#bytes = this.#bytes.subarray(at)
    while (this.#waiting.length > 0 && this.#frames.length > 0) this.#waiting.shift()(this.#frames.shift())
    if (this.#waiting.length === 0) this.#socket.pause()
  }
}

function decode (bytes, at) {
  if (bytes.length < at + 2) return null
  const flags = bytes[at]
  const isLong = (flags & LONG) !== 0
  if (isLong && bytes.length < at + 9) return null
  const start = at + (isLong ? 9 : 2)
  const end = start + (isLong ? Number(bytes.readBigUInt64BE(at + 1)) : bytes[at + 1])
  if (bytes.length < end) return null
  return { body: bytes.subarray(start, end), more: (flags & MORE) !== 0, command: (flags & COMMAND) !== 0, end }
}

/** Dials `tcp://host:port`, `ipc://path` or `ipc://@name`, and is gone after the test. */
export async function dial (t, address) {
  const socket = net.connect({ ...target(address), noDelay: true })
  const peer = new RawPeer(socket)
  t.after(() => peer.destroy())
  await once(socket, 'connect')
  return peer
}

/** A listener for raw peers: `address`, `next()` for the next of them, `close()`. Gone after the test. */
export async function listen (t, address = 'tcp://127.0.0.1:0') {
  const peers = []
  const waiting = []
  const all = new Set()
  const server = net.createServer({ noDelay: true }, socket => {
    const peer = new RawPeer(socket)
    all.add(peer)
    if (waiting.length > 0) waiting.shift()(peer)
    else peers.push(peer)
  })
  const close = () => {
    for (const peer of all) peer.destroy()
    return new Promise(resolve => server.close(resolve))
  }
  t.after(close)
  server.listen(target(address))
  await once(server, 'listening')
  return {
    address: address.startsWith('tcp:') ? `tcp://127.0.0.1:${server.address().port}` : address,
    next: () => peers.length > 0 ? Promise.resolve(peers.shift()) : new Promise(resolve => waiting.push(resolve)),
    close
  }
}

function target (address) {
  if (address.startsWith('ipc://@')) return { path: `\0${address.slice(7)}` }
  if (address.startsWith('ipc://')) return { path: address.slice(6) }
  const { hostname, port } = new URL(address)
  return { host: hostname.replace(/^\[|\]$/g, ''), port: Number(port || 0) }
}
