// What `npm install` does in a clone (prepare.mjs), which npm runs with Node: it says what it does, and what is missing for that.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { isNode } from './helpers/runtime.mjs'

const options = { skip: (!isNode || process.platform === 'win32') && 'run by npm, with Node; and the programs here are shell scripts' }
const script = fileURLToPath(new URL('../prepare.mjs', import.meta.url))

/** Runs it where there are these programs and no others. */
function prepare (t, programs) {
  const directory = mkdtempSync(join(tmpdir(), 'zeropipe-path-'))
  t.after(() => rmSync(directory, { recursive: true, force: true }))
  for (const [name, text] of Object.entries(programs)) {
    writeFileSync(join(directory, name), `#!/bin/sh\n${text}\n`)
    chmodSync(join(directory, name), 0o755)
  }
  const { status, stdout, stderr } = spawnSync(process.execPath, [script], { env: { PATH: directory }, encoding: 'utf8' })
  return { status, stdout, stderr }
}

test('without cargo it says what to install, and builds nothing', options, t => {
  const { status, stdout, stderr } = prepare(t, { cc: 'exit 0', npm: 'echo built' })
  assert.deepEqual({ status, stdout }, { status: 1, stdout: '' })
  assert.match(stderr, /cargo.*https:\/\/rustup\.rs/)
  assert.doesNotMatch(stderr, /C compiler/)
})

test('without anything it names everything', options, t => {
  const { status, stderr } = prepare(t, {})
  assert.equal(status, 1)
  assert.match(stderr, /cargo[^]*C compiler[^]*npm install again/)
})

test('with all it needs it says that it builds, and does so once', options, t => {
  const { status, stdout, stderr } = prepare(t, { cargo: 'exit 0', cc: 'exit 0', npm: 'echo "npm $*"' })
  assert.deepEqual({ status, stderr }, { status: 0, stderr: '' })
  assert.match(stdout, /^zeropipe: building the engine with cargo.*\nnpm run build\n$/)
})

test('a build that fails is a failure', options, t => {
  assert.equal(prepare(t, { cargo: 'exit 0', cc: 'exit 0', npm: 'exit 7' }).status, 7)
})
