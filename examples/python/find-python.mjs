// Which Python the demo and the tests run: one that has pyzmq, made if there is none. Not run by
// itself.
import { execFileSync, spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const directory = fileURLToPath(new URL('../../.cache/python', import.meta.url)) // the tests use the same
const ours = `${directory}/bin/python`

/** The one in ZEROPIPE_PYTHON, else python3, else one in a virtual environment of this repository. */
export function findPython () {
  if (process.env.ZEROPIPE_PYTHON !== undefined) return process.env.ZEROPIPE_PYTHON
  const found = ['python3', ours].find(python => spawnSync(python, ['-c', 'import zmq']).status === 0)
  if (found !== undefined) return found

  console.log(`no python3 with pyzmq: installing one to ${directory}`)
  const inherit = { stdio: 'inherit' }
  execFileSync('python3', ['-m', 'venv', directory], inherit)
  execFileSync(ours, ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', 'pyzmq==27.3.0'], inherit)
  return ours
}

/** What tells tests which Python there is, or why there is none. */
export function pythonEnvironment () {
  try {
    return { ZEROPIPE_PYTHON: findPython() }
  } catch (error) {
    const [why] = error.message.split('\n')
    return { ZEROPIPE_NO_PYTHON: `no Python 3 with pyzmq, and none could be made here (${why})` }
  }
}
