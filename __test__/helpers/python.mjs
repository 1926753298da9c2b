/**
 * A Python interpreter that has pyzmq, where there is one: `npm test` sees to that (../run.mjs).
 */
export const python = process.env.ZEROPIPE_PYTHON

/** For `skip`. */
export const noPython = python === undefined && (process.env.ZEROPIPE_NO_PYTHON ?? 'ZEROPIPE_PYTHON is not set: it names a Python interpreter that has pyzmq')
