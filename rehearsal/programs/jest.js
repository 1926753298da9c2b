// A test as jest's users have it; the rehearsal runs it under two names (../package.mjs).
const { basename } = require('node:path')
// Workers of jest are processes, and each has a default pipe of its own.
process.env.ZEROPIPE_ENDPOINT += `.${process.env.JEST_WORKER_ID}`
const { pipe, push, pull, close } = require('zeropipe')

afterAll(() => close())

/** The text of the next job's frames. */
async function next (pull) {
  for await (const job of pull()) return job.map(String)
}

test('jobs arrive', async () => {
  await push(['text', 7, null, Buffer.from('bytes'), new Uint16Array([1])])
  expect(await next(pull)).toEqual(['text', '7', '', 'bytes', '\u0001\0'])
})

test('a module that is loaded again shares the default pipe', async () => {
  jest.resetModules()
  const again = require('zeropipe')
  expect(again.push).not.toBe(push)
  await push('for whoever pulls')
  expect(await next(again.pull)).toEqual(['for whoever pulls'])
})

test('one that is loaded in isolation has pipes of its own', async () => {
  await jest.isolateModulesAsync(async () => {
    const place = `inproc://${basename(__filename)}`
    const own = require('zeropipe').pipe({ push: { bind: place }, pull: { connect: place } })
    await own.push('own')
    expect(await next(own.pull)).toEqual(['own'])
    await own.close()
  })
})

test('with clocks that stand still jobs come and go', async () => {
  jest.useFakeTimers()
  const own = pipe(`inproc://${basename(__filename)}-still`)
  const count = 300_000 // more than one turn's work
  const pushing = (async () => { for (let i = 0; i < count; i++) await own.push('x') })()
  let left = count
  for await (const jobs of own.pull({ batch: 1000 })) if ((left -= jobs.length) === 0) break
  await pushing
  await own.drain()
  await own.close()
  jest.useRealTimers()
}, 30_000)

test('errors have codes', async () => {
  await expect(push({})).rejects.toMatchObject({ code: 'ERR_ZEROPIPE_INVALID_JOB' })
  await expect(pipe({ push: 'nowhere' }).push('x')).rejects.toMatchObject({ code: 'ERR_ZEROPIPE_INVALID_ENDPOINT' })
})
