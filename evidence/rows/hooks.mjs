// What can't be measured: whether there is a place for what a reliable pipe needs. Read, for the pinned version.

const READ = new Map([
  ['`zeromq` 0.7.0', 'no public hook: codec and connections are private'],
  ['zeropipe', 'the wire is ours']
])

export const hooks = {
  test: 'where acknowledgement, credit, limits on a frame and on a queue can go (read, not measured)',
  needed: 'a place for each',
  measure: async ({ name }) => ({ text: read(name) })
}

function read (name) {
  if (name.startsWith('libzmq')) return 'limits only'
  return READ.get(name) ?? 'not read for this version: look for a public codec or connection'
}
