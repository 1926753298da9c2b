// Fake timers of jest, switched on before zeropipe is imported and after that.
const withStillClocks = require('./clocks.cjs')

const fakes = { modern: {}, legacy: { legacyFakeTimers: true } }

afterEach(() => jest.useRealTimers())

test('with the clocks as they are', async () => {
  expect(await withStillClocks(require('zeropipe'), 'inproc://real')).toBe(withStillClocks.EXPECTED)
})

test.each(Object.keys(fakes))('%s clocks that stop after the import', async kind => {
  const zeropipe = require('zeropipe')
  jest.useFakeTimers(fakes[kind])
  expect(await withStillClocks(zeropipe, `inproc://after-${kind}`)).toBe(withStillClocks.EXPECTED)
})

test.each(Object.keys(fakes))('%s clocks that stand still before the import', async kind => {
  jest.useFakeTimers(fakes[kind])
  let zeropipe
  jest.isolateModules(() => { zeropipe = require('zeropipe') })
  expect(await withStillClocks(zeropipe, `inproc://before-${kind}`)).toBe(withStillClocks.EXPECTED)
})

test('modules of Node that are mocked', async () => {
  const mocked = ['buffer', 'crypto', 'events', 'fs', 'perf_hooks', 'timers', 'util', 'util/types', 'worker_threads']
  for (const name of mocked) for (const same of [name, `node:${name}`]) jest.doMock(same, () => ({}))
  let zeropipe
  jest.isolateModules(() => { zeropipe = require('zeropipe') })
  expect(require('node:crypto').randomBytes).toBe(undefined)
  expect(await withStillClocks(zeropipe, 'inproc://mocked')).toBe(withStillClocks.EXPECTED)
})
