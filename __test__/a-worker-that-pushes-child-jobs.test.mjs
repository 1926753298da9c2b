// Workers whose jobs make more jobs, in the very pipe that they come from: however little may wait, that goes on.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { open } from './helpers/open.mjs'
import { inprocPlace, ipcPlace } from './helpers/place.mjs'
import { program } from './helpers/program.mjs'

const limit = { timeout: 30_000 }

/**
 * Jobs are numbers; each below `all / children` or so pushes its children, as in a heap. Resolves with all that came, sorted,
 * when there can't be any more. `work(pipe, body)` runs them.
 */
async function tree (pipe, { all, children, work }) {
  const jobs = []
  await pipe.push('0')
  await work(pipe, async ([message]) => {
    const number = Number(message)
    jobs.push(number)
    for (let child = 1; child <= children; child++) {
      const next = number * children + child
      if (next < all) await pipe.push(String(next))
    }
    if (jobs.length === all) pipe.close()
  })
  return jobs.sort((a, b) => a - b)
}

const forms = {
  'a loop': async (pipe, body) => { for await (const job of pipe.pull()) await body(job) },
  'two loops': async (pipe, body) => { await Promise.all([1, 2].map(() => forms['a loop'](pipe, body))) },
  'a loop of batches': async (pipe, body) => { for await (const jobs of pipe.pull({ batch: 10 })) for (const job of jobs) await body(job) },
  'a handler': (pipe, body) => pipe.pull(body),
  'ten handlers': (pipe, body) => pipe.pull(body, { concurrency: 10 })
}

for (const [form, work] of Object.entries(forms)) {
  for (const makePlace of [ipcPlace, inprocPlace]) {
    for (const { messages, all, children } of [
      { messages: 1, all: 1000, children: 1 },
      { messages: 2, all: 1000, children: 1 },
      { messages: 200, all: 200, children: 2 }
    ]) {
      test(`${form}, room for ${messages}, ${children} of each, ${all} in all (${makePlace().slice(0, 3)})`, limit, async t => {
        const place = makePlace()
        const pipe = open(t, { push: { bind: place }, pull: { connect: place }, highWaterMark: { messages } })
        const jobs = await tree(pipe, { all, children, work })
        assert.deepEqual(jobs, Array.from({ length: all }, (_, number) => number))
      })
    }
  }
}

for (const form of ['a loop', 'ten handlers']) {
  test(`${form}, more children than there is room for`, { timeout: 5_000 }, async t => {
    const place = ipcPlace()
    const pipe = open(t, { push: { bind: place }, pull: { connect: place }, highWaterMark: { messages: 10 } })
    const jobs = await tree(pipe, { all: 200, children: 2, work: forms[form] })
    assert.deepEqual(jobs, Array.from({ length: 200 }, (_, number) => number))
  })
}

test('worker processes that push child jobs to the pusher that feeds them all', limit, async t => {
  // They push into a pipe of their own toward the process that deals, and that hands on what comes.
  const jobs = open(t, { push: 'tcp://127.0.0.1:*', pull: { bind: 'tcp://127.0.0.1:*' }, highWaterMark: { messages: 300 } })
  await jobs.ready()
  const { push, pull } = jobs.stats()
  for (let worker = 0; worker < 2; worker++) {
    program(t, `
      import { pipe } from 'zeropipe'
      const own = pipe({ pull: { connect: '${push.bound[0]}' }, push: { connect: '${pull.bound[0]}' }, highWaterMark: { messages: 10 } })
      for await (const [message] of own.pull()) {
        const number = Number(message)
        for (const child of [2 * number + 1, 2 * number + 2]) if (child < 200) await own.push(String(child))
        await own.push('done ' + number)
      }
    `)
  }
  const done = []
  await jobs.push('0')
  for await (const [message] of jobs.pull()) {
    const text = message.toString()
    if (!text.startsWith('done ')) await jobs.push(text)
    else if (done.push(Number(text.slice(5))) === 200) break
  }
  await jobs.drain()
  assert.deepEqual(done.sort((a, b) => a - b), Array.from({ length: 200 }, (_, number) => number))
})

test('children that wait for room when the pipe is closed are still taken and done', limit, async t => {
  const place = inprocPlace()
  const pipe = open(t, { push: place, pull: place, highWaterMark: { messages: 1 } })
  await pipe.push('parent')
  const jobs = []
  for await (const [message] of pipe.pull()) {
    jobs.push(message.toString())
    if (jobs.length > 1) continue
    const children = ['1', '2', '3', '4', '5'].map(child => pipe.push(child))
    const closed = pipe.close({ linger: 60_000 })
    await Promise.all(children)
    await closed
  }
  assert.deepEqual(jobs, ['parent', '1', '2', '3', '4', '5'])
})
