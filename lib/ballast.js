'use strict'

// V8 frees a buffer that nobody holds any more together with its young objects, which costs next to nothing, but only once these have filled
// their space. A job of 64 KiB is 400 bytes there: long before that, 64 MB of buffers have come, and V8 goes through all objects of the
// program to find out which of them are held. So who hands out much memory makes some rubbish with it, in proportion (docs/decisions/0010).

/** Frames that are smaller on average come with enough young objects of their own. */
const LARGE = 4096
/** For so many bytes one element, of eight bytes. */
const PART = 128
/** The most elements, which are young however many there are. */
const MOST = 8192

/** What was made last, for an array that nobody holds need not be made. */
// eslint-disable-next-line no-unused-vars -- it is there to be held, not to be read
let ballast = null

/** Makes rubbish that goes with so many bytes in so many frames. */
function addBallast (bytes, frames) {
  if (bytes > frames * LARGE) ballast = new Array(Math.min(Math.ceil(bytes / PART), MOST))
}

module.exports = { addBallast }
