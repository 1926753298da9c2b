// The runtimes that the tests run under: exact versions (runtimes/package.json), installed without scripts, once for each such list, into a cache folder
// that clones share: ZEROPIPE_CACHE, or one under the user's.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const listed = fileURLToPath(new URL('runtimes', import.meta.url))
const cache = process.env.ZEROPIPE_CACHE ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'zeropipe')

/** The folder of a runtime's package. */
export function installed (name) {
  const lock = readFileSync(join(listed, 'package-lock.json'))
  const folder = join(cache, `runtimes-${createHash('sha256').update(lock).digest('hex').slice(0, 16)}`)
  if (!existsSync(folder)) install(folder)
  return join(folder, 'node_modules', name)
}

/** Puts them there in one step: somebody else may be at it too. */
function install (folder) {
  mkdirSync(cache, { recursive: true })
  const own = mkdtempSync(`${folder}-`)
  console.log(`installing runtimes into ${folder} (600 MB, once)`)
  cpSync(listed, own, { recursive: true })
  execFileSync('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], { cwd: own, stdio: 'inherit' })
  try {
    renameSync(own, folder)
  } catch (error) {
    if (!existsSync(folder)) throw error
    rmSync(own, { recursive: true })
  }
}
