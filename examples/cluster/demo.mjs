// npm run example:cluster: a master and its workers in both forms, then what each of the two known pitfalls comes to.
import { runner } from '../run.mjs'

const run = runner(import.meta.url)

console.log('--- 30 jobs for three workers, once all of them are connected')
await run('ready.mjs').ended

console.log('--- the same, once all of them have said so in a message')
await run('ready-messages.mjs').ended

console.log('--- jobs that wait, and workers that join one after the other')
await run('first-joiner.mjs').ended

console.log('--- jobs that each need a file descriptor, of which there are few')
await run('descriptors.mjs').ended
