'use strict'

// Contents: the default pipe, its members by name, and pipe() for more. The path of a job out: lib/pipe.js (push) ->
// lib/session.js -> lib/push_end.js -> lib/packer.js -> src/binding/push_end.rs. In: src/binding/pull_end.rs ->
// lib/unpacker.js -> lib/loop.js or lib/handlers.js. A request: lib/requests.js -> lib/push_end.js; its reply:
// lib/repliers.js -> lib/packer.js.

const { defaultPipe, pipe } = require('./lib/pipe.js')

module.exports = defaultPipe
// One by one and in this form, so that import { push } works in every runtime.
exports = module.exports
exports.push = defaultPipe.push
exports.pull = defaultPipe.pull
exports.request = defaultPipe.request
exports.reply = defaultPipe.reply
exports.ready = defaultPipe.ready
exports.drain = defaultPipe.drain
exports.stats = defaultPipe.stats
exports.close = defaultPipe.close
exports.on = defaultPipe.on
exports.once = defaultPipe.once
exports.off = defaultPipe.off
exports.pipe = pipe
exports.default = defaultPipe
