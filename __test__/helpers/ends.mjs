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
