// npm run test:js (run.mjs): it brings the Python that the tests of interop need, or says at its
// end what was not run.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { isNode } from './helpers/runtime.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const skip = (!isNode || process.platform === 'win32') && 'the command is for Node; a program of sh stands for Python'

/**
 * A repository with two tests, one of which needs Python, where `python3` is this program of sh;
 * what its test command prints.
 */
async function printed (t, python3) {
  const directory = mkdtempSync(join(tmpdir(), 'zeropipe-command-'))
  t.after(() => rmSync(directory, { recursive: true, force: true }))
  for (const name of ['__test__/run.mjs', '__test__/helpers/not-run.mjs', '__test__/helpers/python.mjs', 'examples/python/find-python.mjs']) {
    mkdirSync(dirname(join(directory, name)), { recursive: true })
    cpSync(join(root, name), join(directory, name))
  }
  writeFileSync(join(directory, '__test__/two.test.mjs'), `
    import { test } from 'node:test'
    import { noPython as skip, python } from './helpers/python.mjs'
    test('needs none', () => {})
    test('needs Python', { skip }, () => console.log('found ' + python))
  `)
  const bin = join(directory, 'bin')
  mkdirSync(bin)
  if (python3 !== undefined) {
    writeFileSync(join(bin, 'python3'), `#!/bin/sh\n${python3}\n`)
    chmodSync(join(bin, 'python3'), 0o755)
  }
  // Not those of the command that runs this very test.
  const { ZEROPIPE_PYTHON, ZEROPIPE_NO_PYTHON, NODE_TEST_CONTEXT, ...env } = process.env
  const { stdout } = await promisify(execFile)(process.execPath, ['__test__/run.mjs'], { cwd: directory, env: { ...env, PATH: bin } })
  return stdout
}

test('a Python that has pyzmq is found, and nothing is left out', { skip }, async t => {
  const text = await printed(t, 'exit 0')
  assert.match(text, /found python3/)
  assert.doesNotMatch(text, /not run/)
})

test('one is made where Python has no pyzmq', { skip }, async t => {
  // `-m venv DIRECTORY` makes a Python that has it once pip was run.
  const text = await printed(t, `
    [ "$1" = -c ] && exit 1
    /bin/mkdir -p "$3/bin"
    printf '#!/bin/sh\\n[ "$1" = -m ] && [ "$6" = pyzmq==27.3.0 ]\\n' > "$3/bin/python"
    /bin/chmod +x "$3/bin/python"
  `)
  assert.match(text, /found .*\.cache\/python\/bin\/python/)
  assert.doesNotMatch(text, /not run/)
})

test('where there is none, and none can be made, the command says what was not run', { skip }, async t => {
  for (const python3 of [undefined, '[ "$1" = -m ] && echo no venv >&2; exit 1']) {
    const lines = (await printed(t, python3)).split('\n')
    const [said, ...others] = lines.filter(line => line.includes('not run'))
    assert.match(said, /^# not run: 1 test: no Python 3 with pyzmq, and none could be made here \(.*python3.*\)$/)
    assert.deepEqual(others, [])
  }
})
