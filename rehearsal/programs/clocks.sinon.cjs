// All that sinon can fake, in Node's own modules too, which is why zeropipe has to be imported
// before.
const zeropipe = require('zeropipe')
const withStillClocks = require('./clocks.cjs')
const { useFakeTimers } = require(process.argv[2])

useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setImmediate', 'clearImmediate', 'setInterval', 'clearInterval', 'Date', 'nextTick', 'queueMicrotask', 'performance', 'hrtime'] })
withStillClocks(zeropipe, 'inproc://sinon').then(told => require('node:fs').writeSync(1, told))
