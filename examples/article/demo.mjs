// npm run demo: the article's program in one process, then as one producer with two workers. With shorter pauses.
import { runner } from '../run.mjs'

const run = runner(import.meta.url, { env: { DEMO_PAUSE: '200', ...process.env } })

console.log('--- one process pushes ten jobs at once and works on one at a time')
const program = run('one-process.mjs')
await program.line('Received Job ok 10')
await program.stop()

console.log('--- one producer and two workers, which were there first, take turns')
const workers = [run('worker.mjs', 'A'), run('worker.mjs', 'B')]
await run('producer.mjs', 1, 10, 2).ended
await Promise.race([workers[0].line('A: Received Job ok 10'), workers[1].line('B: Received Job ok 10')])
await Promise.race([workers[0].line('A: Received Job ok 9'), workers[1].line('B: Received Job ok 9')])

console.log('--- worker A ends, B carries on with a new producer')
await workers[0].stop()
await run('producer.mjs', 11, 15, 1).ended
await workers[1].line('B: Received Job ok 15')
await workers[1].stop()
