// npm run test:js [-- ARGUMENTS FOR NODE'S TEST RUNNER]: all tests, with a Python that has pyzmq
// if that can be had; and at the end, what was not run.
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { pythonEnvironment } from '../examples/python/find-python.mjs'

const env = { ...process.env, ...pythonEnvironment() }
const reporters = [process.stdout.isTTY ? 'spec' : 'tap', fileURLToPath(new URL('helpers/not-run.mjs', import.meta.url))]
const args = reporters.flatMap(reporter => ['--test-reporter', reporter, '--test-reporter-destination', 'stdout'])
const child = spawn(process.execPath, ['--test', '--test-concurrency=5', ...args, ...process.argv.slice(2)], { env, stdio: 'inherit' })
child.on('close', code => { process.exitCode = code ?? 1 })
