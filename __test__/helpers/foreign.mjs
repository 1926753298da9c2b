import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'

/**
 * Runs a program that speaks ZeroMQ without zeropipe. It takes its options as JSON in its last argument and lines on
 * its standard input (`say`), and prints what happens as JSON, a line each: `heard(key)` resolves with the value of the
 * next one that has that key.
 */
export function foreign (t, command, args, options) {
  const child = spawn(command, [...args, JSON.stringify(options)], { stdio: ['pipe', 'pipe', 'pipe'] })
  const lines = []
  const waiting = []
  let errors = ''
  const serve = () => {
    for (const waiter of waiting.splice(0)) {
      const index = lines.findIndex(line => waiter.key in line)
      if (index >= 0) waiter.resolve(lines.splice(index, 1)[0][waiter.key])
      else waiting.push(waiter)
    }
  }
  child.stderr.setEncoding('utf8').on('data', text => { errors += text })
  child.stdin.on('error', () => {}) // it has ended, which those who wait are told
  createInterface(child.stdout).on('line', line => {
    lines.push(JSON.parse(line))
    serve()
  })
  let error
  const ended = new Promise(resolve => {
    child.on('error', resolve)
    child.on('close', code => resolve(new Error(`${command} ${args.join(' ')} ended (${code}): ${errors}`)))
  }).then(reason => {
    error = reason
    for (const { reject } of waiting.splice(0)) reject(error)
  })
  t.after(async () => {
    child.kill('SIGKILL')
    await ended
  })
  return {
    heard: key => new Promise((resolve, reject) => {
      waiting.push({ key, resolve, reject })
      serve()
      if (error !== undefined) for (const { reject } of waiting.splice(0)) reject(error)
    }),
    say: text => { child.stdin.write(`${text}\n`) }
  }
}
