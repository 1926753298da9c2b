/** The next jobs of a pipe, so many. */
export async function take (pipe, count, options) {
  const jobs = []
  if (count === 0) return jobs
  for await (const job of pipe.pull(options)) {
    jobs.push(job)
    if (jobs.length === count) break
  }
  return jobs
}

/** The first frames of jobs as text. */
export const texts = jobs => jobs.map(([frame]) => frame.toString())

/** So many numbers from 0 on, as text. */
export const numbers = count => Array.from({ length: count }, (_, i) => String(i))
