// Says how long it takes to load the library.
import { createRequire } from 'node:module'
import { args, part, say } from './side.mjs'

const require = createRequire(import.meta.url)
const began = performance.now()
require(args.path)
say(performance.now() - began)
part()
