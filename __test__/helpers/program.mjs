import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { isDeno, ownArgs } from './runtime.mjs'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** How this runtime runs a program. */
const own = execArgv => [process.execPath, ...ownArgs, ...execArgv]

/**
 * Runs the text of a program, which imports (or, with `extension: 'cjs'`, requires) 'zeropipe', as a process of its own: of this runtime, unless
 * another `command` is given.
 * `ended` resolves with { code, signal, stdout, stderr }; `said(text)` resolves once stdout has that text.
 */
export function program (t, text, { env = {}, extension = 'mjs', execArgv = [], command = own(execArgv) } = {}) {
  const directory = mkdtempSync(join(tmpdir(), 'zeropipe-program-'))
  const file = join(directory, `program.${extension}`)
  writeFileSync(file, text)
  // A package with a dependency, as users have it.
  writeFileSync(join(directory, 'package.json'), '{}')
  mkdirSync(join(directory, 'node_modules'))
  symlinkSync(root, join(directory, 'node_modules', 'zeropipe'), 'junction')
  const [runtime, ...args] = command
  const child = spawn(runtime, [...args, file], { env: { ...process.env, ...env }, stdio: ['pipe', 'pipe', 'pipe'] })
  if (isDeno) signalDirectly(child)

  const output = { stdout: '', stderr: '' }
  const listeners = new Set()
  for (const name of ['stdout', 'stderr']) {
    child[name].setEncoding('utf8').on('data', chunk => {
      output[name] += chunk
      for (const listener of listeners) listener()
    })
  }
  const ended = new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code, signal) => resolve({ code, signal, ...output }))
  })
  const said = text => new Promise((resolve, reject) => {
    const look = () => {
      if (!output.stdout.includes(text)) return
      listeners.delete(look)
      resolve()
    }
    listeners.add(look)
    look()
    ended.then(end => reject(new Error(`ended before it said ${text}: ${JSON.stringify(end)}`)), reject)
  })
  t.after(async () => {
    child.kill('SIGKILL')
    await ended
    rmSync(directory, { recursive: true, force: true })
  })
  return { child, ended, said }
}

/** Deno says of a child that was sent a signal by `kill` that it died of it at once, whatever it does about it. */
function signalDirectly (child) {
  child.kill = signal => {
    try {
      process.kill(child.pid, signal)
    } catch (error) {
      if (error.code !== 'ESRCH') throw error // it has ended
    }
  }
}
