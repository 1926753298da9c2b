// Raw peers of request and reply ends (docs/flow.md): they keep the books of a link, byte by byte.
import { FlowPeer, ack, credit, offer, pairs, properties, u64 } from './flow.mjs'
import { command, dial, job } from './raw-peer.mjs'

/** How many bytes a tag has. */
export const TAG = 12

/** The answer to a request by an error. */
export function reject (number, code = '', text = '') {
  const bytes = Buffer.from(code)
  return command('REJECT', Buffer.concat([u64(number), Buffer.from([bytes.length]), bytes, Buffer.from(text)]))
}

/** Frames as text. */
export const asText = frames => frames.map(String)

/** Whoever works: a REP or a ROUTER that our request end talks to. `requests` has { number, frames, tag, texts, id, attempt }. */
export class RawWorker extends FlowPeer {
  requests = []
  #frames = []
  #mark

  constructor (peer, type = 'ROUTER') {
    super(peer, type)
  }

  credit (...args) {
    return this.send(credit(...args))
  }

  ack (...args) {
    return this.send(ack(...args))
  }

  /** Sends the reply to a request, without acknowledging it. */
  reply ({ tag }, ...frames) {
    return this.send(job(tag, '', ...frames))
  }

  /** Sends the reply to a request and acknowledges it, in one write. */
  answer ({ tag, number }, ...frames) {
    return this.send(job(tag, '', ...frames), ack(number))
  }

  /** Resolves with the first so many requests. */
  async get (count) {
    await this.when(() => this.requests.length >= count)
    return this.requests.slice(0, count)
  }

  /** The first frame of the body of each request so far. */
  get texts () {
    return this.requests.map(({ texts }) => texts[0])
  }

  obey (name, data) {
    if (this.#frames.length > 0) throw new Error(`${name} within a message`)
    if (name === 'JOB') this.#mark = properties(data)
    this.log.push({ name })
  }

  frame ({ body, more }) {
    this.#frames.push(Buffer.from(body))
    if (more) return
    const frames = this.#frames
    const request = { number: this.requests.length + 1, frames, tag: frames[0], texts: asText(frames.slice(2)), id: this.#mark?.id, attempt: this.#mark?.attempt }
    this.names.push('a job')
    this.log.push(request)
    this.requests.push(request)
    this.#frames = []
    this.#mark = undefined
  }
}

/** Whoever asks: a REQ or a DEALER that talks to our reply end. `replies` has the frames of each. */
export class RawAsker extends FlowPeer {
  replies = []
  credits = []
  acked = []
  returned = []
  nacked = []
  rejected = []
  /** What was sent under each number. */
  messages = [undefined]
  /** Whether what is RETURNed is sent again as soon as that is granted. */
  resends = false
  #again = []
  #frames = []
  /** What the messages count. */
  #cost = 0

  constructor (peer, type = 'DEALER') {
    super(peer, type)
  }

  get sent () {
    return this.messages.length - 1
  }

  /** How many more requests may be sent: none once the bytes that are granted are reached. */
  get left () {
    const { jobs, bytes } = this.credits.at(-1) ?? { jobs: 0, bytes: 0 }
    return this.#cost < bytes ? jobs - this.sent : 0
  }

  /** All numbers that a word was said of. */
  get settled () {
    return [this.acked, this.returned, this.nacked, this.rejected.map(({ number }) => number)].flat().toSorted((a, b) => a - b)
  }

  /** Replies as texts. */
  get texts () {
    return this.replies.map(asText)
  }

  /** Sends a message of these frames, whether it may or not. */
  put (...frames) {
    this.messages.push(frames)
    this.#cost += frames.reduce((sum, frame) => sum + Buffer.byteLength(frame) + 64, -64)
    return this.send(job(...frames))
  }

  /** The same as soon as it may. */
  async request (...frames) {
    await this.when(() => this.left > 0)
    return this.put(...frames)
  }

  /** Resolves with the first so many replies. */
  async get (count) {
    await this.when(() => this.replies.length >= count)
    return this.replies.slice(0, count)
  }

  obey (name, data) {
    if (this.#frames.length > 0) throw new Error(`${name} within a message`)
    if (name === 'CREDIT') this.credits.push({ jobs: Number(data.readBigUInt64BE(0)), bytes: Number(data.readBigUInt64BE(8)) })
    else if (name === 'ACK') this.acked.push(...pairs(data))
    else if (name === 'RETURN') this.giveBack(pairs(data))
    else if (name === 'NACK') this.nacked.push(Number(data.readBigUInt64BE(0)))
    else if (name === 'REJECT') this.rejected.push({ number: Number(data.readBigUInt64BE(0)), code: data.subarray(9, 9 + data[8]).toString(), text: data.subarray(9 + data[8]).toString() })
    this.log.push({ name, data })
    while (this.#again.length > 0 && this.left > 0) this.put(...this.#again.shift())
  }

  giveBack (numbers) {
    this.returned.push(...numbers)
    if (this.resends) this.#again.push(...numbers.map(number => this.messages[number]))
  }

  frame ({ body, more }) {
    this.#frames.push(Buffer.from(body))
    if (more) return
    this.names.push('a reply')
    this.log.push({ name: 'a reply', frames: this.#frames })
    this.replies.push(this.#frames)
    this.#frames = []
  }
}

/** A worker with flow that dials our request end. */
export async function dialWorker (t, address, given = offer()) {
  return await new RawWorker(await dial(t, address)).handshake(given)
}

/** A worker without. */
export async function dialPlainWorker (t, address, type = 'REP') {
  return await new RawWorker(await dial(t, address), type).handshake({})
}

/** One with flow that asks our reply end. */
export async function dialAsker (t, address, given = offer()) {
  return await new RawAsker(await dial(t, address)).handshake(given)
}

/** One without. */
export async function dialPlainAsker (t, address, type = 'DEALER') {
  return await new RawAsker(await dial(t, address), type).handshake({})
}
