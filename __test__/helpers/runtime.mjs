// Which runtime the tests run in, and what it can't do.

const { bun, deno } = process.versions

export const isBun = bun !== undefined
export const isDeno = deno !== undefined
export const isNode = !isBun && !isDeno

/** All runtimes are rehearsed, one of which this is: what takes long need not be done as often in each as where it is the only one. */
export const isOneOfMany = process.env.ZEROPIPE_REHEARSAL !== undefined

/** What stands before the file of a program, for this runtime. */
export const ownArgs = isDeno ? ['run', '--allow-all'] : []

/** What lets a program call `gc()`. */
export const exposesCollector = [isDeno ? '--v8-flags=--expose-gc' : '--expose-gc']

/** Runs what runs nowhere else: zeromq.js. */
export const node = isNode ? process.execPath : 'node'

/** For `skip`: after a rejection that nobody handles Bun goes on as if nothing were, until it has nothing more to do, and says then that it ends well. */
export const hidesRejections = isBun && 'Bun does not end when a rejection is not handled'

/** For `skip`: what a collection of garbage was. */
export const tellsNoCollections = !isNode && 'only Node tells what its garbage collector does'

/** For `skip`: after an error that nobody catches, Bun spins for ever while a top-level await is pending, with or without us. */
export const spinsAfterErrors = isBun && 'Bun does not end after an error while a top-level await is pending'

/** For `skip`: what a thread that is terminated while it waits for an atomic holds is held for as long as it waits, with or without us. */
export const endsNoBlockedThread = isDeno && 'Deno does not end a thread that blocks'

/**
 * For `skip`: that nothing but a top-level await is left Node tells (`beforeExit`); Bun waits for
 * ever, and Deno ends with an error of its own.
 */
export const ignoresTopLevelAwait = !isNode && 'only Node tells that nothing but a top-level await is left'
