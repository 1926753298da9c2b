// Answers each request with what was asked, or pushes each job back; says where.
import { args, heard, library, part, say } from './side.mjs'

const { address, close } = await (args.pushes ? library.openEcho() : library.openReply())
say(address)
await heard()
await close()
part()
