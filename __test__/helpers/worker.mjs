import { connect } from 'node:net'
import { program } from './program.mjs'
import { until } from './until.mjs'

/**
 * Runs a worker as a process of its own. Its text, which may await, has the members of its pipe, `own`, and
 * - `begin({ job, id, attempt })`, to be called with each informed job, gives its text, and `finish(text)`: both are noted here;
 * - `say(text)`; `order(text)`, which resolves once it was told that by `tell(text)`.
 * It connects its end `side`. Here: `begun` has { text, id, attempt } of each job, `finished` texts, `lines` all that was said; `heard(line)` waits.
 */
export function worker (t, address, text, options = {}, side = 'pull') {
  const { child, ended } = program(t, `
    import { writeSync } from 'node:fs'
    import { createServer } from 'node:net'
    import { pipe } from 'zeropipe'
    const own = pipe(${JSON.stringify({ [side]: { connect: address }, ...options })})
    const { push, pull, request, reply, ready, drain, stats, close } = own
    // Said before anything else happens, even if that is the end.
    const say = text => {
      for (let bytes = Buffer.from(text + '\\n'); bytes.length > 0;) {
        try {
          bytes = bytes.subarray(writeSync(1, bytes))
        } catch (error) {
          if (error.code !== 'EAGAIN') throw error
        }
      }
    }
    const begin = ({ job, id, attempt }) => {
      say('begun ' + JSON.stringify({ text: job[0].toString(), id, attempt }))
      return job[0].toString()
    }
    const finish = text => say('finished ' + text)
    // Not stdin, which some runtimes can't read from without staying alive for it.
    let told = ''
    const lookers = new Set()
    const orders = createServer(socket => socket.unref().setEncoding('utf8').on('data', chunk => {
      told += chunk
      for (const look of lookers) look()
    }))
    orders.listen(0, '127.0.0.1', () => say('orders ' + orders.address().port)).unref()
    const order = text => new Promise(resolve => {
      const look = () => {
        if (!told.includes(text + '\\n')) return
        lookers.delete(look)
        if (lookers.size === 0) orders.unref()
        resolve()
      }
      orders.ref()
      lookers.add(look)
      look()
    })
    const block = ms => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
    ${text}
  `)
  const begun = []
  const finished = []
  const lines = []
  let place
  const orders = new Promise(resolve => { place = resolve })
    .then(port => connect(port, '127.0.0.1').on('error', () => {})) // it may be gone
  let rest = ''
  child.stdout.on('data', chunk => {
    const all = (rest + chunk).split('\n')
    rest = all.pop()
    for (const line of all) {
      if (line.startsWith('orders ')) {
        place(Number(line.slice(7)))
        continue
      }
      lines.push(line)
      if (line.startsWith('begun ')) begun.push(JSON.parse(line.slice(6)))
      if (line.startsWith('finished ')) finished.push(line.slice(9))
    }
  })
  let end = null
  ended.then(how => { end = how })
  return {
    child,
    ended,
    begun,
    finished,
    lines,
    tell: async text => { (await orders).write(`${text}\n`) },
    heard: line => until(() => {
      if (lines.includes(line)) return true
      if (end !== null) throw new Error(`ended before it said ${line}: ${JSON.stringify(end)}`)
      return false
    })
  }
}

/** A loop that notes what it begins and finishes. `body` may use `text`, `id` and `attempt`. */
export const loop = (body = '') => `
  for await (const informed of pull({ info: true })) {
    const text = begin(informed)
    const { id, attempt } = informed
    ${body}
    finish(text)
  }
`
