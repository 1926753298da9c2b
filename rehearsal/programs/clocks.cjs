// What has to work while the clocks of a test runner stand still (clocks.*): jobs, requests,
// another attempt, and the end.
module.exports = async function withStillClocks ({ pipe }, place) {
  const own = pipe({ push: { bind: place }, pull: { connect: place }, request: { bind: `${place}-asks` }, reply: { connect: `${place}-asks` } })
  const text = job => job.map(String).join()
  const told = []
  await own.ready({ pullers: 1 })

  // Bytes of the realm that tests run in, which is not Node's.
  for (const job of ['text', 7, null, Buffer.from('buffer'), new Uint8Array([65]), new Uint16Array([66]).buffer]) await own.push(job)
  for await (const job of own.pull()) if (told.push(text(job)) === 6) break

  // More than one turn's work.
  const count = 50_000
  const pushing = (async () => { for (let i = 0; i < count; i++) await own.push('x') })()
  let left = count
  for await (const jobs of own.pull({ batch: 1000 })) if ((left -= jobs.length) === 0) break
  await pushing

  // Nobody answers yet: the timeout is a timer of ours, and so is the pause before another attempt.
  told.push(await own.request('nobody', { timeout: 10 }).catch(({ code }) => code))
  own.reply(([question]) => `${question}!`).catch(() => {})
  told.push(text(await own.request('question', { timeout: 20_000 })))
  told.push(await new Promise(resolve => {
    own.pull((job, { attempt }) => {
      if (attempt === 1) throw new Error('once')
      resolve(attempt)
    }).catch(() => {})
    own.push('twice').catch(() => {})
  }))

  const aborting = new AbortController()
  const aborted = own.pull({ signal: aborting.signal }).next()
  aborting.abort()
  told.push(await aborted.catch(({ name }) => name))
  const error = await own.push({}).catch(error => error)
  told.push(error instanceof Error, error.code)
  await own.drain()
  await own.close()
  return told.join(' ')
}

module.exports.EXPECTED = 'text 7  buffer A B\0 ERR_ZEROPIPE_TIMEOUT question! 2 AbortError true ERR_ZEROPIPE_INVALID_JOB'
