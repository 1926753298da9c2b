import { open } from './open.mjs'

/** A pipe whose push end listens, and where. */
export async function pusher (t, options = {}, address = 'tcp://127.0.0.1:*') {
  const pipe = open(t, { ...options, push: { bind: address } })
  await pipe.ready()
  return { pipe, address: pipe.stats().push.bound[0] }
}

/** A pipe whose pull end listens, and where. */
export async function puller (t, options = {}, address = 'tcp://127.0.0.1:*') {
  const pipe = open(t, { ...options, pull: { bind: address } })
  await pipe.ready()
  return { pipe, address: pipe.stats().pull.bound[0] }
}

/** A pipe whose request end listens, and where. */
export async function requester (t, options = {}, address = 'tcp://127.0.0.1:*') {
  const pipe = open(t, { ...options, request: { bind: address } })
  await pipe.ready()
  return { pipe, address: pipe.stats().request.bound[0] }
}

/** A pipe whose reply end listens, and where. */
export async function replier (t, options = {}, address = 'tcp://127.0.0.1:*') {
  const pipe = open(t, { ...options, reply: { bind: address } })
  await pipe.ready()
  return { pipe, address: pipe.stats().reply.bound[0] }
}
