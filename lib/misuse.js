'use strict'

// What is said of values that are something else than was expected, and what was probably meant by
// them.

const { Map, unmocked } = require('./runtime.js')
const { isPromise, isProxy } = unmocked('node:util/types') ?? require('node:util/types')
const { inspect } = unmocked('node:util') ?? require('node:util')

/** What a value is called by its own class, of whatever realm; '' if that can't be told. */
function className (value) {
  if (isProxy(value)) return ''
  try {
    if (isPromise(value) || typeof value.then === 'function') return 'Promise'
    const tag = Object.prototype.toString.call(value).slice(8, -1)
    const name = tag === 'Object' ? value.constructor?.name : tag
    return typeof name === 'string' && name !== 'Object' ? name : ''
  } catch {
    return ''
  }
}

/** As `util.inspect` shows it, in short, if it can. */
function show (value, otherwise = 'a value that can\'t be shown') {
  try {
    return inspect(value, { depth: 0, customInspect: false, maxStringLength: 1000, maxArrayLength: 10, breakLength: Infinity })
  } catch {
    return otherwise
  }
}

/** What a value is, in words: "an AbortSignal", "a function", "null", "5". */
function describe (value) {
  if (typeof value === 'function') return 'a function'
  if (typeof value !== 'object' || value === null) return show(value)
  if (isProxy(value)) return 'a Proxy'
  const name = className(value)
  if (name === '') return Array.isArray(value) ? 'an array' : 'an object'
  return `${/^[AEIO]/.test(name) ? 'an' : 'a'} ${name}`
}

/** Which option a number is likely to be meant for. */
const NUMBERS = { close: 'linger', pull: 'batch', 'pull(handler)': 'concurrency', ready: 'pullers', reply: 'concurrency', request: 'timeout' }
const SENDS = ['push', 'request']

/**
 * What was probably meant by what was given in place of the options of `what`, which are the
 * `known` ones.
 */
function adviceOnOptions (value, what, known) {
  const name = typeof value === 'object' && value !== null ? className(value) : ''
  if (name === 'AbortSignal') return known.includes('signal') ? 'write { signal }' : `${what} takes no signal`
  if (name === 'AbortController' && known.includes('signal')) return 'write { signal: controller.signal }'
  if (name === 'Promise') return 'await it'
  if (what === 'pipe' || known.includes('bind')) return adviceOnSites(value, what, name)
  if (typeof value === 'number') return adviceOnNumber(value, what)
  if (typeof value === 'function') {
    return what === 'pull' ? 'the handler comes first: pull(handler, options)' : `${what} takes no callback, it returns a promise`
  }
  if (SENDS.includes(what) && (typeof value === 'string' || ArrayBuffer.isView(value))) {
    return `a job of several frames is one array: ${what}([a, b])`
  }
  if (typeof value === 'string' && /^SIG[A-Z0-9]+$/.test(value)) {
    return `a listener is given the signal's name: process.on('${value}', () => ${what}())`
  }
  return plainAdvice(known)
}

function adviceOnSites (value, what, name) {
  if (name === 'URL') return 'give its text, url.href'
  if (typeof value === 'number') return `write 'tcp://127.0.0.1:${value}'`
  if (Array.isArray(value)) return `several addresses belong to an end: ${what === 'pipe' ? '{ push: { bind: […] } }' : '{ bind: […] }'}`
  return `give one address as a string, or a plain object, as ${what === 'pipe' ? '{ push: address }' : '{ bind: address }'}`
}

function adviceOnNumber (value, what) {
  const meant = NUMBERS[what] === undefined ? '' : `write { ${NUMBERS[what]}: ${value} }`
  if (!SENDS.includes(what)) return meant === '' ? 'they are a plain object' : meant
  const mapped = `array.map(${what}) hands over the index too: write array.map(job => ${what}(job))`
  return meant === '' ? mapped : `${meant}; or, if it is an index, ${mapped}`
}

const plainAdvice = known => `they are a plain object, as { ${known[0]} }`

/** What was probably meant by what was given in place of an address. */
function adviceOnEndpoint (value) {
  const name = typeof value === 'object' && value !== null ? className(value) : ''
  if (name === 'URL') return 'give its text, url.href'
  if (name === 'Promise') return 'await it'
  if (typeof value === 'number') return `write 'tcp://127.0.0.1:${value}'`
  return 'it must be a string'
}

/** Names by how near they are to another, the nearest first. */
function byNearness (name, known) {
  const distances = new Map(known.map(one => [one, distance(name.toLowerCase(), one.toLowerCase())]))
  return [...known].sort((a, b) => distances.get(a) - distances.get(b))
}

/**
 * What follows a name that there isn't: "did you mean …?" if one is near, and all there are, the
 * nearest first.
 */
function suggest (name, known) {
  const sorted = byNearness(name, known)
  const isNear = distance(name.toLowerCase(), sorted[0].toLowerCase()) <= Math.max(2, sorted[0].length / 3)
  return `${isNear ? `: did you mean ${sorted[0]}?` : ''} (there are: ${sorted.join(', ')})`
}

/**
 * How many letters must be put in, taken out, exchanged or swapped with the next to make one name
 * of the other.
 */
function distance (one, other) {
  // Longer names are near to none.
  const from = one.slice(0, 64)
  const rows = [Array.from({ length: other.length + 1 }, (_, at) => at)]
  for (let i = 1; i <= from.length; i++) {
    const row = [i]
    for (let j = 1; j <= other.length; j++) {
      const isSame = from[i - 1] === other[j - 1]
      row[j] = Math.min(rows[i - 1][j] + 1, row[j - 1] + 1, rows[i - 1][j - 1] + (isSame ? 0 : 1))
      const isSwapped = i > 1 && j > 1 && from[i - 1] === other[j - 2] && from[i - 2] === other[j - 1]
      if (isSwapped) row[j] = Math.min(row[j], rows[i - 2][j - 2] + 1)
    }
    rows.push(row)
  }
  return rows[from.length][other.length]
}

module.exports = { adviceOnEndpoint, adviceOnOptions, describe, show, suggest }
