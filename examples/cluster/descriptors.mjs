// node descriptors.mjs: many-files.mjs in both its forms, where a process may have no more than 64 file descriptors.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'

const program = fileURLToPath(new URL('many-files.mjs', import.meta.url))

for (const form of ['loop', 'handler']) {
  const child = spawn('bash', ['-c', 'ulimit -n 64 && exec "$0" "$@"', process.execPath, program, form], { stdio: ['ignore', 'inherit', 'pipe'] })
  const [[code, signal], errors] = await Promise.all([once(child, 'close'), text(child.stderr)])
  console.log(`${form}: ended with ${signal ?? code}\n${errors}`.trimEnd())
}
