// What zeropipe ends tell each other (docs/flow.md), byte by byte, and raw peers that keep its books.
import { randomBytes } from 'node:crypto'
import { command, dial, job, ping } from './raw-peer.mjs'

export const PROPERTY = 'X-Zeropipe'

/** More than anybody could send. */
export const NO_LIMIT = 2n ** 63n

/** A name for an end, as good as a new one. */
export const newInstance = () => randomBytes(8).toString('hex')

export const offer = (instance = newInstance(), version = 1) => ({ [PROPERTY]: `${version} ${instance}` })

export function u64 (...numbers) {
  const bytes = Buffer.alloc(8 * numbers.length)
  numbers.forEach((number, index) => bytes.writeBigUInt64BE(BigInt(number), 8 * index))
  return bytes
}

export const credit = (jobs, bytes = NO_LIMIT) => command('CREDIT', u64(jobs, bytes))
/** Each range is a number, or [first, last]. */
export const ack = (...ranges) => command('ACK', u64(...ranges.flatMap(both)))
export const giveBack = (...ranges) => command('RETURN', u64(...ranges.flatMap(both)))
export const nack = (number, reason = '') => command('NACK', Buffer.concat([u64(number), Buffer.from(reason)]))
export const mark = properties => command('JOB', Buffer.concat(Object.entries(properties).map(([name, value]) => {
  const length = Buffer.alloc(4)
  length.writeUInt32BE(Buffer.byteLength(String(value)))
  return Buffer.concat([Buffer.from([name.length]), Buffer.from(name), length, Buffer.from(String(value))])
})))

const both = range => Array.isArray(range) ? range : [range, range]

/** The properties of READY or JOB, their names in lower case. */
export function properties (data) {
  const found = {}
  for (let at = 0; at < data.length;) {
    const name = data.subarray(at + 1, at + 1 + data[at])
    at += 1 + name.length
    const length = data.readUInt32BE(at)
    found[name.toString().toLowerCase()] = data.subarray(at + 4, at + 4 + length).toString()
    at += 4 + length
  }
  return found
}

/** The name and the data of a command's frame. */
export function parse ({ body }) {
  return { name: body.subarray(1, 1 + body[0]).toString('latin1'), data: body.subarray(1 + body[0]) }
}

/** All numbers of ranges. */
export function pairs (data) {
  if (data.length === 0 || data.length % 16 !== 0) throw new Error(`ranges of ${data.length} bytes`)
  const found = []
  let before = 0
  for (let at = 0; at < data.length; at += 16) {
    const [first, last] = [Number(data.readBigUInt64BE(at)), Number(data.readBigUInt64BE(at + 8))]
    if (first <= before || last < first) throw new Error(`ranges out of order: ${first} to ${last} after ${before}`)
    for (let number = first; number <= last; number++) found.push(number)
    before = last
  }
  return found
}

/** A raw peer that reads all the time, answers PINGs, and notes what it is told. */
export class FlowPeer {
  constructor (peer, type) {
    this.peer = peer
    this.type = type
    /** The names of all commands since the handshake, and 'a job' for each job. */
    this.names = []
    /** What came in a row: jobs and commands of flow, decoded. */
    this.log = []
    this.closed = peer.closed
    this.pongs = 0
    this.asked = 0
    this.isAnswering = true
    this.watchers = new Set()
  }

  get isClosed () {
    return this.peer.isClosed
  }

  /** Shakes hands; `properties` are those of our READY, those of the other side's come back. */
  async handshake (properties_ = offer()) {
    const answer = await this.peer.handshake(this.type, { properties: properties_ })
    this.ready = properties(parse(answer).data)
    this.instance = this.ready[PROPERTY.toLowerCase()]?.split(' ')[1]
    this.pump()
    return this
  }

  send (...bytes) {
    this.peer.send(...bytes)
    return this
  }

  /** Resolves once `holds()`; looked at whenever something has arrived. Rejects when the link ends before. */
  when (holds) {
    return new Promise((resolve, reject) => {
      const look = () => {
        if (holds(this)) resolve()
        else if (this.isOver) reject(new Error(`the link ended: ${this.names.join(' ')}`))
        else return
        this.watchers.delete(look)
      }
      this.watchers.add(look)
      look()
    })
  }

  /** So many questions and their answers, one after the other: what was to come has come by then. */
  async ask (times = 3) {
    for (; times > 0; times--) {
      const wanted = ++this.asked
      this.send(ping(0, `ask ${wanted}`))
      await this.when(() => this.pongs >= wanted)
    }
  }

  destroy () {
    this.peer.destroy()
  }

  async pump () {
    for (let frame; (frame = await this.peer.next()) !== undefined;) {
      if (frame.command) this.told(parse(frame))
      else this.frame(frame)
      for (const look of [...this.watchers]) look()
    }
    this.isOver = true
    for (const look of [...this.watchers]) look()
  }

  told ({ name, data }) {
    this.names.push(name)
    if (name === 'PING' && this.isAnswering) this.send(command('PONG', data.subarray(2)))
    else if (name === 'PONG') this.pongs++
    else this.obey(name, data)
  }
}

/** A raw PULL: `jobs` that came, each { number, frames, id, attempt, isTold }. */
export class FlowPull extends FlowPeer {
  jobs = []
  #frames = []
  #mark
  #lastId

  constructor (peer) {
    super(peer, 'PULL')
  }

  credit (...args) {
    return this.send(credit(...args))
  }

  ack (...args) {
    return this.send(ack(...args))
  }

  /** Resolves with the first so many jobs. */
  async get (count) {
    await this.when(() => this.jobs.length >= count)
    return this.jobs.slice(0, count)
  }

  /** The first frames of all jobs so far. */
  get texts () {
    return this.jobs.map(({ frames }) => frames[0])
  }

  obey (name, data) {
    if (this.#frames.length > 0) throw new Error(`${name} within a message`)
    if (name !== 'JOB') return
    this.#mark = properties(data)
    this.log.push({ name, ...this.#mark })
  }

  frame ({ body, more }) {
    this.#frames.push(body.toString())
    if (more) return
    const [instance, sequence] = this.#mark?.id.split('-') ?? this.#lastId ?? []
    const id = this.#mark !== undefined ? BigInt(sequence) : sequence === undefined ? undefined : sequence + 1n
    this.#lastId = id === undefined ? undefined : [instance, id]
    const one = {
      number: this.jobs.length + 1,
      frames: this.#frames,
      id: id === undefined ? undefined : `${instance}-${id}`,
      attempt: this.#mark?.attempt,
      isTold: this.#mark !== undefined
    }
    this.names.push('a job')
    this.log.push(one)
    this.jobs.push(one)
    this.#frames = []
    this.#mark = undefined
  }
}

/** A raw PUSH: the last credit, and what became of the jobs that it sent, by their numbers. */
export class FlowPush extends FlowPeer {
  credits = []
  acked = []
  returned = []
  nacked = []
  sent = 0

  constructor (peer) {
    super(peer, 'PUSH')
  }

  /** How many more jobs may be sent. */
  get left () {
    return (this.credits.at(-1)?.jobs ?? 0) - this.sent
  }

  /** All numbers that a word was said of. */
  get settled () {
    return [...this.acked, ...this.returned, ...this.nacked.map(({ number }) => number)].toSorted((a, b) => a - b)
  }

  /** Sends jobs of one frame, whether it may or not. */
  push (...texts) {
    this.sent += texts.length
    return this.send(...texts.map(text => job(text)))
  }

  /** Sends them as soon as it may. */
  async pushWhenGranted (...texts) {
    for (const text of texts) {
      await this.when(() => this.left > 0)
      this.push(text)
    }
  }

  obey (name, data) {
    if (name === 'CREDIT') {
      if (data.length !== 16) throw new Error(`CREDIT of ${data.length} bytes`)
      this.credits.push({ jobs: Number(data.readBigUInt64BE(0)), bytes: Number(data.readBigUInt64BE(8)) })
      this.log.push({ name, ...this.credits.at(-1) })
    } else if (name === 'ACK' || name === 'RETURN') {
      const numbers = pairs(data)
      this[name === 'ACK' ? 'acked' : 'returned'].push(...numbers)
      this.log.push({ name, numbers })
    } else if (name === 'NACK') {
      this.nacked.push({ number: Number(data.readBigUInt64BE(0)), reason: data.subarray(8).toString() })
      this.log.push({ name, ...this.nacked.at(-1) })
    }
  }

  frame () {
    throw new Error('a message from a PULL')
  }
}

/** Dials a pusher. */
export async function dialPull (t, address, properties) {
  return await new FlowPull(await dial(t, address)).handshake(properties)
}

/** Dials a puller. */
export async function dialPush (t, address, properties) {
  return await new FlowPush(await dial(t, address)).handshake(properties)
}
