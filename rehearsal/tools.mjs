// The runtimes and tools that the package is tried with: exact versions (tools/package.json), installed without scripts, once for each such list, into a
// cache folder that clones share: ZEROPIPE_CACHE, or one under the user's.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const listed = fileURLToPath(new URL('tools', import.meta.url))
const cache = process.env.ZEROPIPE_CACHE ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'zeropipe')

/** The folder of a package among the tools. */
export function tool (name) {
  const lock = readFileSync(join(listed, 'package-lock.json'))
  const folder = join(cache, `tools-${createHash('sha256').update(lock).digest('hex').slice(0, 16)}`)
  if (!existsSync(folder)) install(folder)
  return join(folder, 'node_modules', name)
}

/** Puts them there in one step: somebody else may be at it too. */
function install (folder) {
  mkdirSync(cache, { recursive: true })
  const own = mkdtempSync(`${folder}-`)
  console.log(`installing runtimes and tools into ${folder} (1.1 GB, once)`)
  cpSync(listed, own, { recursive: true })
  execFileSync('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--silent'], { cwd: own, stdio: 'inherit' })
  try {
    renameSync(own, folder)
  } catch (error) {
    if (!existsSync(folder)) throw error
    rmSync(own, { recursive: true })
  }
}
