// npm run example:request: one asks, three share the answering, and each reply comes back to who has asked. With shorter pauses.
import { runner } from '../run.mjs'

const env = { REQUESTS: 'tcp://127.0.0.1:*', DEMO_PAUSE: '100', ...process.env }
const run = runner(import.meta.url, { env })
const addressOf = async asker => (await asker.line(/^listening on /)).replace('listening on ', '')

console.log('--- one asks nine times at once, three repliers that connect to it share the requests')
const asker = run('asker.mjs', 3, 9)
const address = await addressOf(asker)
const repliers = ['A', 'B', 'C'].map(name => run('replier.mjs', address, name))
await asker.ended
await Promise.all(repliers.map(({ stop }) => stop()))

console.log('--- a replier dies with a request in hand: another answers it')
const other = run('asker.mjs', 1, 3)
const otherAddress = await addressOf(other)
const first = run('replier.mjs', otherAddress, 'the first')
await first.line('the first works on request 1')
const second = run('replier.mjs', otherAddress, 'the second')
first.kill()
await other.ended
await second.stop()
