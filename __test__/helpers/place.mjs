import { randomBytes } from 'node:crypto'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const unique = () => `zeropipe-${process.pid}-${randomBytes(4).toString('hex')}`

/** An address within this process that nobody else uses. */
export const inprocPlace = () => `inproc://${unique()}`

/** A path for a socket, in a directory that is there. */
export const ipcPlace = () => `ipc://${join(tmpdir(), `${unique()}.sock`)}`

/** A name for a socket without a file (Linux). */
export const abstractPlace = () => `ipc://@${unique()}`
