// Keeps a core busy.
process.once('message', () => process.exit())
const burn = () => {
  const until = performance.now() + 10
  while (performance.now() < until);
  setImmediate(burn)
}
burn()
process.send('burning')
