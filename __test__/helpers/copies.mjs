// Copies of the package, as several dependencies of one program may bring them.
import { cpSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))
const { files, main } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
const names = readdirSync(root).filter(name => files.includes(name) || name === 'package.json' || name.endsWith('.node'))

/**
 * Copies the package into a folder of its own, as of another version if one is told; the path of
 * what to import.
 */
export function copy (t, version) {
  const directory = mkdtempSync(join(tmpdir(), 'zeropipe-copy-'))
  t.after(() => rmSync(directory, { recursive: true, force: true }))
  const folder = join(directory, 'zeropipe')
  mkdirSync(folder)
  for (const name of names) cpSync(join(root, name), join(folder, name), { recursive: true })
  if (version !== undefined) {
    const path = join(folder, 'package.json')
    writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), version }))
  }
  return { folder, entry: join(folder, main) }
}
