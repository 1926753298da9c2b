// Each side of a measurement is a process of its own, from programs/. What they tell each other goes over their channel.
import { fork } from 'node:child_process'
import { once } from 'node:events'

/** Starts a program with these arguments; on one core alone if it is told which, and able to collect garbage when it likes if `gc`. */
export function start (name, args, { env = {}, core, gc = false } = {}) {
  const execArgv = gc ? ['--expose-gc'] : []
  const pinned = core === undefined ? { execArgv } : { execPath: 'taskset', execArgv: ['--cpu-list', String(core), process.execPath, ...execArgv] }
  const script = new URL(`programs/${name}.mjs`, import.meta.url)
  const child = fork(script, [JSON.stringify(args)], { env: { ...process.env, ...env }, ...pinned })
  const ended = once(child, 'exit')
  const failed = ended.then(([code, signal]) => { throw new Error(`${name} of ${args.library} has ended before its time (${signal ?? code})`) })
  failed.catch(() => {})
  return {
    /** What it says next. */
    said: async () => (await Promise.race([once(child, 'message'), failed]))[0],
    /** All that it says from now on. */
    listen: heard => child.on('message', heard),
    say: message => child.send(message),
    ended,
    /** Rejects when it has ended. */
    failed
  }
}
