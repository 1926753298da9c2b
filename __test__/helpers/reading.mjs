// Ends on which one thread reads by itself (src/engine/tap.rs): what tests of that have in common.
import assert from 'node:assert/strict'
import { fileURLToPath } from 'node:url'
import { replier, requester } from './ends.mjs'
import { open } from './open.mjs'
import { ipcPlace } from './place.mjs'
import { asText, dialAsker, dialWorker } from './raw-requests.mjs'
import { until } from './until.mjs'
import { worker } from './worker.mjs'

export const limit = { timeout: 60_000 }
export const PLACES = { tcp: () => 'tcp://127.0.0.1:*', ipc: ipcPlace }
export const TCP = PLACES.tcp()
export const index = fileURLToPath(new URL('../../index.js', import.meta.url))
/** So many round trips, one after the other, and the thread reads by itself. */
export const WARM = 200
export const echo = job => job
export const block = ms => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
export const code = code => error => error.code === code

let last = 0
/** So many requests, one after the other, each with its own reply. */
export async function ask (pipe, count = WARM) {
  for (; count > 0; count--) {
    const text = `request ${++last}`
    const reply = await pipe.request(text)
    assert.deepEqual(asText(reply), [text])
  }
}

/** So many requests are answered, and nothing is left. */
export async function isSettled (pipe, done) {
  await until(() => {
    const { queued, queuedBytes, inFlight, inFlightBytes, done: now } = pipe.stats().request
    return queued + queuedBytes + inFlight + inFlightBytes === 0 && now === done
  })
}

/** A replier with that handler, and a requester, who reads by himself. */
export async function pair (t, handler = echo, { reply, request, concurrency = 1, place = TCP } = {}) {
  const { pipe: far, address } = await replier(t, reply, place)
  far.reply(handler, { concurrency }).catch(() => {})
  const near = open(t, { ...request, request: address })
  return { near, far, address }
}

/** A requester who listens, and a worker process that answers with what it was asked. `body` may use `text`. */
export async function withProcess (t, body = '', { options = {}, theirs = {}, place = TCP, concurrency = 1 } = {}) {
  const { pipe: near, address } = await requester(t, options, place)
  const far = worker(t, address, `
    own.on('leave', ({ code, reason }) => say('leave ' + code + ' ' + reason))
    await reply(async job => { const text = String(job[0]); ${body}; return job }, { concurrency: ${concurrency} })
  `, theirs, 'reply')
  return { near, far, address }
}

/** Calls `answer` with each request of a raw worker, until the function that it returns is called. */
export function serve (worker, answer) {
  let at = worker.requests.length
  const look = () => {
    while (at < worker.requests.length) answer(worker.requests[at++])
  }
  worker.watchers.add(look)
  look()
  return () => worker.watchers.delete(look)
}

/** A raw worker, whose replies the requester's thread reads by itself. */
export async function rawWorker (t, pipe, address, warm = WARM) {
  const raw = await dialWorker(t, address)
  raw.credit(1e9)
  const stop = serve(raw, request => raw.answer(request, ...request.texts))
  await ask(pipe, warm)
  stop()
  return raw
}

/** A raw asker, whose requests the replier's thread reads by itself. */
export async function rawAsker (t, address, warm = WARM) {
  const raw = await dialAsker(t, address)
  for (let count = 1; count <= warm; count++) await askRaw(raw, `raw ${count}`)
  return raw
}

export async function askRaw (raw, text) {
  const before = raw.replies.length
  await raw.request('', text)
  await raw.get(before + 1)
  assert.equal(raw.texts.at(-1).at(-1), text)
}
