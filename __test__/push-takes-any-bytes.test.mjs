import assert from 'node:assert/strict'
import { test } from 'node:test'
import { open } from './helpers/open.mjs'
import { inprocPlace } from './helpers/place.mjs'
import { take } from './helpers/take.mjs'

const limit = { timeout: 30_000 }
const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i))

/** A view of `bytes` that begins and stops within a larger buffer. */
function within (View, buffer = new ArrayBuffer(512)) {
  new Uint8Array(buffer).fill(0xEE)
  new Uint8Array(buffer).set(bytes, 128)
  return new View(buffer, 128, 256 / (View.BYTES_PER_ELEMENT ?? 1))
}

const jobs = {
  'a short ASCII string': ['hello', 'hello'],
  'a long ASCII string': ['x'.repeat(5000), 'x'.repeat(5000)],
  'a string over 64 KiB': ['y'.repeat(200_000), 'y'.repeat(200_000)],
  'a short string beyond ASCII': ['żółw €', 'żółw €'],
  'a string of four-byte characters': ['🐢'.repeat(6), '🐢'.repeat(6)],
  'a long string beyond ASCII': ['ü€🐢'.repeat(3000), 'ü€🐢'.repeat(3000)],
  'a string over 64 KiB beyond ASCII': ['€'.repeat(100_000), '€'.repeat(100_000)],
  'a string with a zero in it': ['a\0b', 'a\0b'],
  'a lone surrogate, as the replacement character': ['a\uD800', 'a\uFFFD'],
  'an empty string': ['', ''],
  'a whole number': [42, '42'],
  'a negative fraction': [-0.5, '-0.5'],
  'a very large number': [1e21, '1e+21'],
  NaN: [NaN, 'NaN'],
  'null, as an empty frame': [null, ''],
  'a Buffer': [bytes, bytes],
  'an empty Buffer': [Buffer.alloc(0), ''],
  'a slice of a Buffer': [within(Uint8Array), bytes],
  'an Int8Array': [within(Int8Array), bytes],
  'a Uint8ClampedArray': [within(Uint8ClampedArray), bytes],
  'a Uint16Array': [within(Uint16Array), bytes],
  'a Float32Array': [within(Float32Array), bytes],
  'a Float64Array': [within(Float64Array), bytes],
  'a BigInt64Array': [within(BigInt64Array), bytes],
  'a DataView': [within(DataView), bytes],
  'an ArrayBuffer': [new Uint8Array(bytes).buffer, bytes],
  'a SharedArrayBuffer': [sharedCopy().buffer, bytes],
  'a view of a SharedArrayBuffer': [within(Uint8Array, new SharedArrayBuffer(512)), bytes],
  'a DataView of a SharedArrayBuffer': [within(DataView, new SharedArrayBuffer(512)), bytes],
  'a Buffer over 64 KiB': [Buffer.alloc(100_000, bytes), Buffer.alloc(100_000, bytes)],
  'a Float64Array over 64 KiB': [new Float64Array(20_000).fill(0.1), Buffer.from(new Float64Array(20_000).fill(0.1).buffer)],
  'a SharedArrayBuffer over 64 KiB': [new SharedArrayBuffer(100_000), Buffer.alloc(100_000)]
}

function sharedCopy () {
  const copy = new Uint8Array(new SharedArrayBuffer(256))
  copy.set(bytes)
  return copy
}

for (const [name, [job, expected]] of Object.entries(jobs)) {
  test(`${name} is a job, alone or as a frame`, limit, async t => {
    const pipe = open(t, inprocPlace())
    await pipe.push(job)
    await pipe.push([job])
    await pipe.push(['before', job, 'after'])
    const frame = Buffer.from(expected)

    const received = await take(pipe, 3)

    assert.deepEqual(received, [[frame], [frame], [Buffer.from('before'), frame, Buffer.from('after')]])
    assert.ok(received[0][0] instanceof Buffer)
  })
}

test('a job of 1,024 frames of every kind arrives whole', limit, async t => {
  const pipe = open(t, 'tcp://127.0.0.1:*')
  const kinds = [i => `text ${i}`, i => i, () => null, i => Buffer.from([i & 255]), i => new Uint16Array([i])]
  const frames = Array.from({ length: 1024 }, (_, i) => kinds[i % kinds.length](i))
  const expected = frames.map(frame => frame === null
    ? Buffer.alloc(0)
    : Buffer.from(frame instanceof Uint16Array ? frame.buffer : typeof frame === 'number' ? String(frame) : frame))
  await pipe.push(frames)

  assert.deepEqual(await take(pipe, 1), [expected])
})

test('the bytes of a job are taken before push resolves', limit, async t => {
  const pipe = open(t, 'tcp://127.0.0.1:*')
  for (const size of [10, 1000, 65_535, 65_536, 3_000_000]) {
    const job = Buffer.alloc(size, 'a')
    await pipe.push(job)
    job.fill('b')
    await pipe.push([job, job.subarray(0, 5)])
    job.fill('c')

    const [[first], [second, third]] = await take(pipe, 2)

    assert.ok(first.equals(Buffer.alloc(size, 'a')), `${size} bytes`)
    assert.ok(second.equals(Buffer.alloc(size, 'b')), `${size} bytes and more`)
    assert.equal(third.toString(), 'bbbbb')
  }
})

test('a frame that was received can be written into without changing another', limit, async t => {
  const pipe = open(t, inprocPlace())
  for (let i = 0; i < 10; i++) await pipe.push(['12345', '67890'])

  for (const [one, two] of await take(pipe, 10)) {
    assert.equal(`${one}${two}`, '1234567890')
    one.fill('x')
    assert.equal(two.toString(), '67890')
    two.fill('y')
  }
})

test('members of a pipe can be taken off it', limit, async t => {
  const { push, pull, ready, drain, stats, close, on, once, off } = open(t, inprocPlace())
  const addresses = []
  const listener = ({ address }) => addresses.push(address)
  once('listening', listener)
  on('join', listener)
  off('join', listener)
  await ready()
  await push('by itself')
  const [job] = await take({ pull }, 1)
  await drain()
  assert.equal(job.toString(), 'by itself')
  assert.deepEqual(addresses, stats().push.bound)
  await close()
})
