import { randomBytes, randomInt } from 'node:crypto'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const unique = () => `zeropipe-${process.pid}-${randomBytes(4).toString('hex')}`

/** An address within this process that nobody else uses. */
export const inprocPlace = () => `inproc://${unique()}`

/** A path for a socket, in a directory that is there; where there are no such sockets, a port that is hardly taken. */
export const ipcPlace = () => process.platform === 'win32' ? `tcp://127.0.0.1:${randomInt(20_000, 60_000)}` : `ipc://${join(tmpdir(), `${unique()}.sock`)}`

/** A name for a socket without a file (Linux). */
export const abstractPlace = () => `ipc://@${unique()}`
