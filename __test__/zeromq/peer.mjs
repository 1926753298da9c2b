/** Binds or connects, and tells where. */
export async function attach (socket, { bind, connect }) {
  if (bind !== undefined) await socket.bind(bind)
  else socket.connect(connect)
  tell({ address: socket.lastEndpoint })
}

export function tell (event) {
  process.stdout.write(`${JSON.stringify(event)}\n`)
}
