/** A reporter of `node:test` that ends with what was not run, and why. */
export default async function * notRun (events) {
  const reasons = new Map()
  for await (const { type, data } of events) {
    if (type !== 'test:pass' || data.skip === undefined) continue
    reasons.set(data.skip, (reasons.get(data.skip) ?? 0) + 1)
  }
  for (const [reason, tests] of reasons) yield `# not run: ${tests} ${tests === 1 ? 'test' : 'tests'}: ${reason}\n`
}
