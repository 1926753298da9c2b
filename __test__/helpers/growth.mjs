// What this process has grown by, without what its garbage collector has not got to yet.
import assert from 'node:assert/strict'
import { setTimeout } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

const MiB = 2 ** 20

/** Node shows its collector to new contexts only, once it is told to; Deno shows it when it is started with a flag (see rehearsal/runtimes.mjs). */
function findCollector () {
  if (globalThis.Bun) return () => globalThis.Bun.gc(true)
  if (globalThis.gc) return globalThis.gc
  setFlagsFromString('--expose-gc')
  return runInNewContext('gc')
}
const collect = findCollector()

/** Resident bytes, once collecting garbage gives no more of them back. */
async function resident () {
  for (let least = Infinity; ;) {
    collect()
    // Buffers that were collected are freed in a later turn, and allocators return pages when they get to it.
    await setTimeout(10)
    const { rss } = process.memoryUsage()
    if (rss > least - MiB) return rss
    least = rss
  }
}

/** Gives a function that fails if the process has grown by so many MiB since, or more. Peers that live in the same process are within that number. */
export async function growth () {
  const before = await resident()
  return async limit => {
    const grown = (await resident() - before) / MiB
    assert.ok(grown < limit, `grew by ${grown} MiB`)
  }
}

/**
 * Does the work again and again until the process grows by less than so many MiB meanwhile, and fails if it never does. What leaks is lost each
 * time; what a runtime keeps for its own heap (newer Nodes 100 MiB for young objects alone) it takes a few times at most.
 */
export async function growsNoMore (limit, work) {
  const grown = []
  for (let before = await resident(); grown.length < 10;) {
    await work()
    const now = await resident()
    if (now - before < limit * MiB) return
    grown.push(Math.round((now - before) / MiB))
    before = now
  }
  assert.fail(`grew each time: by ${grown.join(', ')} MiB`)
}
