// The packages as the registry would have them: the tarballs of the root and of the platform that was built here.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { cpSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('..', import.meta.url))
/** The file of the engine that was built here. */
export const [binary, ...others] = readdirSync(root).filter(name => name.endsWith('.node'))
assert.ok(binary !== undefined && others.length === 0, 'there must be one binary: npm run build')
/** As in linux-x64-gnu. */
export const platform = binary.replace(/^zeropipe\.(.*)\.node$/, '$1')

/** Packs into a folder; `root` and `native` are what npm says of each tarball, and its `path`. */
export function pack (into) {
  // As `napi artifacts` does it.
  const native = join(into, platform)
  cpSync(join(root, 'npm', platform), native, { recursive: true })
  cpSync(join(root, binary), join(native, binary))
  const tarball = folder => {
    const [said] = JSON.parse(execFileSync('npm', ['pack', folder, '--ignore-scripts', '--json', '--pack-destination', into], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }))
    return { ...said, path: join(into, said.filename) }
  }
  return { root: tarball(root), native: tarball(native) }
}
