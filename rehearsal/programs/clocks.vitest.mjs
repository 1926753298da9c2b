// All that vitest can fake, switched on after zeropipe was imported, and before it is imported
// anew.
import * as zeropipe from 'zeropipe'
import { afterEach, expect, test, vi } from 'vitest'
import withStillClocks from './clocks.cjs'

/** It fakes `nextTick` in threads only. */
const toFake = ['setTimeout', 'clearTimeout', 'setImmediate', 'clearImmediate', 'setInterval', 'clearInterval', 'Date', 'queueMicrotask', 'performance', 'hrtime']
if (process.env.VITEST_NEXT_TICK !== undefined) toFake.push('nextTick')

afterEach(() => vi.useRealTimers())

test('clocks that stop after the import', async () => {
  vi.useFakeTimers({ toFake })
  expect(await withStillClocks(zeropipe, 'inproc://after')).toBe(withStillClocks.EXPECTED)
})

test('clocks that stand still before the import', async () => {
  vi.useFakeTimers({ toFake })
  vi.resetModules()
  expect(await withStillClocks(await import('zeropipe'), 'inproc://before')).toBe(withStillClocks.EXPECTED)
})
