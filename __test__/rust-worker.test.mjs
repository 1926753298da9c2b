import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { ownArgs } from './helpers/runtime.mjs'

const script = fileURLToPath(new URL('../examples/rust-worker/run.mjs', import.meta.url))

// The time is cargo's: the first run builds the Rust program.
test('a Rust program takes jobs from a Node program and hands jobs to it', { timeout: 700_000 }, async () => {
  const args = [...ownArgs, script]
  const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: 690_000 })

  const received = Array.from({ length: 10 }, (_, i) => `Received Job ok ${i + 1}`)
  const expected = ['Node pushes, Rust pulls:', ...received, 'Rust pushes, Node pulls:', ...received]
  assert.deepEqual(stdout.trimEnd().split('\n'), expected)
})
