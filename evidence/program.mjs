// A process under test: what it printed, whether it lives, and its end.

import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'

/** No row takes half as long; what is left then is killed, so that nothing hangs for good. */
const LIMIT = 30_000
const DEADLINE = 10_000

const running = new Set()
process.on('exit', () => running.forEach(program => program.kill()))

/** Kills whatever the last scenario left behind. */
export async function killAll () {
  await Promise.all([...running].map(program => program.kill()))
}

export class Program {
  /** The numbers of the jobs it has had, without those a sender adds at the end to show that it lives. */
  jobs = new Set()
  /** All it has had, repeats and additions counted. */
  received = 0
  /** How many jobs the sender says were accepted, and when it last said so. */
  sent = 0
  reportedAt = 0
  complaints = ''

  constructor ([command, ...args], jobs) {
    this.child = spawn(command, args, { stdio: 'pipe', timeout: LIMIT, killSignal: 'SIGKILL' })
    this.counted = jobs
    this.exited = new Promise(resolve => {
      this.child.once('close', (code, signal) => resolve(signal ?? `exit code ${code}`))
    })
    this.exited.then(how => {
      this.ended = how
      running.delete(this)
    })
    this.child.on('error', error => (this.complaints += error.message))
    this.child.stdin.on('error', () => {})
    this.child.stderr.on('data', text => (this.complaints = (this.complaints + text).slice(-500)))
    createInterface(this.child.stdout).on('line', line => this.#take(line))
    running.add(this)
  }

  /** Where it listens. */
  async endpoint () {
    await until(() => this.listening ?? this.ended, DEADLINE)
    if (!this.listening) throw new Error(`it doesn't listen (${this.ended ?? 'no answer'}): ${this.complaints.trim()}`)
    return this.listening
  }

  kill () {
    this.child.kill('SIGKILL')
    return this.exited
  }

  #take (line) {
    const [word, value] = line.split(' ')
    if (word === 'listening') {
      this.listening = value
    } else if (word === 'sent') {
      this.sent = Number(value)
      this.reportedAt = Date.now()
    } else {
      this.received++
      if (Number(word) < this.counted) this.jobs.add(Number(word))
    }
  }
}

/** Resolves with what `condition` returns as soon as that is truthy, or with undefined after `limit` ms. */
export async function until (condition, limit) {
  const end = Date.now() + limit
  while (Date.now() < end) {
    const value = condition()
    if (value) return value
    await new Promise(resolve => setTimeout(resolve, 20))
  }
}

/** Resolves when jobs have come and, for three seconds, no more of them. */
export async function standstill (programs) {
  const count = () => programs.reduce((sum, program) => sum + program.jobs.size, 0)
  await until(() => count() > 0, DEADLINE)
  let last = -1
  while (last !== count()) {
    last = count()
    await until(() => count() !== last, 3_000)
  }
}
