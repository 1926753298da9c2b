// Does a job by noting its number in a file, where it stays whatever becomes of the process.
import { openSync, writeSync } from 'node:fs'
import { pipe } from '../../index.js'

const [address, path] = process.argv.slice(2)
const log = openSync(path, 'a')
const note = Buffer.alloc(4)
for await (const [number] of pipe({ pull: address }).pull()) {
  note.writeUInt32LE(Number(number))
  writeSync(log, note)
}
