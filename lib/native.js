'use strict'

// The engine as JavaScript sees it (src/binding/): built here, or in the package for this platform that npm has installed.

/** What the file for each platform is called; of several, the first that loads is right: a binary for glibc does not load where musl is. */
const names = {
  'darwin arm64': ['darwin-arm64'],
  'darwin x64': ['darwin-x64'],
  'linux arm': ['linux-arm-gnueabihf'],
  'linux arm64': ['linux-arm64-gnu', 'linux-arm64-musl'],
  'linux x64': ['linux-x64-gnu', 'linux-x64-musl'],
  'win32 arm64': ['win32-arm64-msvc'],
  'win32 x64': ['win32-x64-msvc']
}

/** The first that loads, or undefined if there is none; those that are there and don't load say why in `problems`. */
function load (names, problems) {
  for (const name of names) {
    for (const path of [`../zeropipe.${name}.node`, `zeropipe-${name}`]) {
      try {
        return require(path)
      } catch (error) {
        if (error.code !== 'MODULE_NOT_FOUND') problems.push(error.message)
      }
    }
  }
}

function open () {
  const platform = `${process.platform} ${process.arch}`
  const problems = []
  const native = load(names[platform] ?? [], problems)
  if (native !== undefined) return native
  const missing = names[platform] === undefined
    ? 'there is no binary for it'
    : problems.length > 0 ? problems.join('; ') : 'npm has not installed its binary (was it told to leave out optional dependencies, or is node_modules from another machine?)'
  const { code, makeError } = require('./errors.js')
  throw makeError(code.UNSUPPORTED, `zeropipe can't run on ${platform}: ${missing}. ` +
    'To build it you need Rust (https://rustup.rs): clone the repository, run npm install there, and install that folder')
}

module.exports = { engine: open(), names }
