// npm run rehearse: a release from the version commit to a user's installation, in a clone, with a registry that lives as long as this does. What the
// release workflow runs is run here too (.ci/release-version, .ci/publish); but the binaries of other platforms are stand-ins.
import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { runtimes, tool } from './install.mjs'
import { binary, platform, root } from './pack.mjs'

const place = mkdtempSync(join(tmpdir(), 'zeropipe-release-'))
const clone = join(place, 'clone')
const REPOSITORY = 'https://example.org/zeropipe/zeropipe'

/** Runs a command in the clone, or in another folder: what it says. */
function run (command, args, { cwd = clone, env = {} } = {}) {
  return execFileSync(command, args, { cwd, env: { ...process.env, ...env }, encoding: 'utf8', stdio: 'pipe', maxBuffer: 2 ** 28 })
}

/** A registry that takes packages from everybody. Its address, and what ends it. */
async function openRegistry () {
  const probe = createServer().listen(0, '127.0.0.1')
  await new Promise(resolve => probe.once('listening', resolve))
  const { port } = probe.address()
  await new Promise(resolve => probe.close(resolve))
  const config = join(place, 'registry.yaml')
  writeFileSync(config, `
storage: ${join(place, 'storage')}
packages:
  '**':
    access: $all
    publish: $all
    unpublish: $all
log: { type: file, path: ${join(place, 'registry.log')}, level: warn }
`)
  // It wants a Node of at least 22.
  const child = spawn(runtimes['node-24'].program(), [tool('verdaccio/bin/verdaccio'), '--config', config, '--listen', `127.0.0.1:${port}`], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
  // It says when it listens.
  await new Promise((resolve, reject) => {
    child.once('message', resolve)
    child.once('exit', code => reject(new Error(`the registry ended with ${code}`)))
  })
  return { host: `127.0.0.1:${port}`, close: () => child.kill() }
}

/** What `npm version` makes of the clone: what the workflow would read of its last commit. */
function makeVersion (...args) {
  const who = { GIT_AUTHOR_NAME: 'x', GIT_AUTHOR_EMAIL: 'x@example.org', GIT_COMMITTER_NAME: 'x', GIT_COMMITTER_EMAIL: 'x@example.org' }
  run('npm', ['version', ...args], { env: who })
  assert.equal(run('git', ['status', '--porcelain']), '', 'everything that a version changes is in its commit')
  const MESSAGE = run('git', ['log', '-1', '--format=%B'])
  return Object.fromEntries(run('bash', ['.ci/release-version'], { env: { MESSAGE } }).trim().split('\n').map(line => line.split('=')))
}

/** A folder for each target, as the workflow downloads them. */
function layOutBinaries () {
  const targets = JSON.parse(readFileSync(join(clone, 'package.json'), 'utf8')).napi.targets
  const names = readdirSync(join(clone, 'npm'))
  assert.equal(names.length, targets.length)
  for (const name of names) {
    const folder = join(clone, 'artifacts', `binary-${name}`)
    mkdirSync(folder, { recursive: true })
    copyFileSync(join(root, binary), join(folder, `zeropipe.${name}.node`))
  }
}

/** What a user gets who installs that tag. */
function install (tag, npmrc) {
  const cwd = mkdtempSync(join(place, 'user-'))
  writeFileSync(join(cwd, 'package.json'), '{ "private": true }')
  writeFileSync(join(cwd, '.npmrc'), npmrc)
  run('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--cache', join(place, 'cache'), `zeropipe@${tag}`], { cwd })
  // Only what this platform needs.
  assert.deepEqual(readdirSync(join(cwd, 'node_modules')).filter(name => !name.startsWith('.')).toSorted(), ['zeropipe', `zeropipe-${platform}`])
  const told = run(process.execPath, ['--input-type=module', '--eval', `
    import { push, pull, close } from 'zeropipe'
    await push('released')
    for await (const [text] of pull()) { console.log(String(text)); break }
    await close()
  `], { cwd, env: { ZEROPIPE_ENDPOINT: `ipc://@zeropipe-release-${process.pid}` } })
  assert.equal(told, 'released\n')
  const packages = ['zeropipe', `zeropipe-${platform}`].map(name => JSON.parse(readFileSync(join(cwd, 'node_modules', name, 'package.json'), 'utf8')))
  for (const { repository } of packages) assert.equal(repository.url, `git+${REPOSITORY}.git`)
  const [{ version, optionalDependencies }] = packages
  assert.deepEqual(optionalDependencies, Object.fromEntries(readdirSync(join(clone, 'npm')).map(name => [`zeropipe-${name}`, version])))
  return version
}

let registry
try {
  assert.equal(run('git', ['status', '--porcelain'], { cwd: root }), '', 'what is rehearsed is the last commit: commit first')
  run('git', ['clone', '--quiet', '--no-tags', root, clone], { cwd: place })
  run('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'])
  assert.equal(run('bash', ['.ci/release-version'], { env: { MESSAGE: 'Anything else' } }), '')
  registry = await openRegistry()
  const npmrc = `registry=http://${registry.host}/\n//${registry.host}/:_authToken=anybody\n`
  writeFileSync(join(place, 'npmrc'), npmrc)
  // Whatever version it has: the next candidate, then the release.
  for (const [tag, ...args] of [['next', 'prerelease', '--preid', 'rc'], ['latest', 'patch']]) {
    const { version, tag: read } = makeVersion(...args)
    assert.equal(read, tag)
    layOutBinaries()
    run('bash', ['.ci/publish'], { env: { NPM_CONFIG_USERCONFIG: join(place, 'npmrc'), NPM_CONFIG_TAG: tag, REPOSITORY } })
    assert.equal(install(tag, npmrc), version)
    console.log(`${version} was published as ${tag}, and installed`)
    run('git', ['checkout', '--quiet', '.'])
  }
} finally {
  registry?.close()
  rmSync(place, { recursive: true, force: true })
}
