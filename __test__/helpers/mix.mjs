import { randomBytes } from 'node:crypto'

const LARGEST = 8 << 20

/**
 * Jobs of every size from nothing to 8 MiB, some of them of several frames, in an order that is the same at every run.
 * All of them are views of the same noise.
 */
export function * mix (count) {
  const noise = randomBytes(LARGEST + (1 << 20))
  const below = random(count)
  const view = length => {
    const start = below(noise.length - length + 1)
    return noise.subarray(start, start + length)
  }
  for (let index = 0; index < count; index++) {
    const frames = index % 25_000 === 12_345 ? 1024 : index % 8 === 0 ? 2 + below(4) : 1
    const job = [view(length(index, below))]
    while (job.length < frames) job.push(view(length(1, below)))
    yield job
  }
}

function length (index, below) {
  if (index % 20_000 === 9_999) return LARGEST - below(2) * below(LARGEST / 2)
  if (index % 1_000 === 333) return below(1 << 20)
  if (index % 50 === 17) return below(64 * 1024 + 2)
  if (index % 10 === 9) return 254 + below(4) // around where a frame's length takes eight octets
  return Math.max(0, below(400) - 50)
}

/** Numbers from 0 up to, but not including, `end`: a linear congruence, whose high bits are good enough. */
function random (seed) {
  let state = seed
  return end => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor(state / 2 ** 32 * end)
  }
}
