// Never run: `tsc --noEmit` holds index.d.ts to the contract, right uses and wrong ones.
import zeropipe, { close, drain, on, pipe, pull, push, ready, reply, request, stats } from 'zeropipe'
import type { InformedJob, JobInfo, Message, MessageLike, Pipe, PipeOptions, PipeStats } from 'zeropipe'

const everyKind: MessageLike[] = ['text', 1, null, Buffer.from(''), new Uint16Array(1), new DataView(new ArrayBuffer(1)), new ArrayBuffer(1), new SharedArrayBuffer(1)]

export async function uses (signal: AbortSignal): Promise<void> {
  const accepted: void = await push('job')
  await push(everyKind, { signal })
  await push(new Uint8Array(1))
  for await (const [frame] of pull()) Buffer.from(frame!).readUInt8()
  for await (const job of pull({ signal })) { const message: Message = job; void message }
  for await (const jobs of pull({ batch: 10 })) { const batch: Message[] = jobs; void batch }
  for await (const { job, id, attempt, from } of pull({ info: true })) {
    const informed: InformedJob = { job, id, attempt, from }
    const address: string = from.address
    void [informed, address]
  }
  const ended: void = await pull(async (job: Message, info: JobInfo) => { void [job, info.attempt] }, { concurrency: 2, signal })
  const [answer]: Message = await request(['question', null], { signal, timeout: 100 })
  const answered: void = await reply(async (job: Message, { id, attempt, from }: JobInfo) => [id, attempt, from.address, ...job], { concurrency: 2, signal, prefetch: 0 })
  await reply(() => null)
  await reply(([frame]) => frame!)
  await ready({ pullers: 1, pushers: 2, repliers: 1, requesters: 2, signal })
  await drain({ signal })
  await close({ linger: 100 })
  const { push: { bound, queued, peers }, pull: { received }, request: { done }, reply: { received: asked } }: PipeStats = stats()
  on('join', ({ address, identity, flow, end }) => { void [address, identity, flow, end === 'push'] })
    .once('refused', ({ code, reason }) => { void [code.length, reason.length] })
    .on('unreachable', ({ end, address, code, reason }) => { void [end.length, address.length, code.length, reason.length] })
    .off('dead', ({ job, error }) => { void [job[0], error] })
  void [accepted, ended, answer, answered, done, asked, bound, queued, peers[0]?.jobs, received]
}

/** What nobody means to change may be given wherever an array is taken. */
export async function readonlyArrays (texts: readonly string[], frames: ReadonlyArray<MessageLike>, job: Readonly<Message>): Promise<void> {
  const frozen = Object.freeze(['a', 'b'])
  const literal = ['resize', 2, null] as const
  for (const one of [texts, frames, frozen, literal, job]) {
    await push(one)
    await request(one)
    await reply(() => one)
    await reply(async () => one)
    await zeropipe.push(one, {})
  }
  await push(texts)
  await request(literal, { timeout: 1 })
  await reply(() => literal)
  await reply(async (): Promise<readonly MessageLike[]> => texts)
  const places = ['tcp://*:1', 'ipc://a'] as const
  const options = { push: { bind: places, connect: texts }, pull: { connect: places }, request: { connect: texts }, reply: { bind: places } } as const
  const checked: PipeOptions = options
  void [pipe(options), pipe(checked), pipe({ push: { bind: Object.freeze(['tcp://*:1']) } })]
}

export function pipes (): Pipe[] {
  const options: PipeOptions = {
    push: { bind: ['tcp://*:1', 'ipc://a'], connect: 'inproc://b' },
    pull: 'tcp://host:1',
    request: { bind: 'tcp://*:2', connect: ['tcp://host:2'] },
    reply: 'tcp://*:3',
    highWaterMark: { messages: 1, bytes: 2 },
    maxMessageSize: 1,
    linger: 0,
    maxAttempts: 1,
    heartbeat: { interval: 1, timeout: 2 },
    identity: 'me'
  }
  const disposable: AsyncDisposable[] = [pipe(), pull(), pull({ batch: 2 }), pull({ info: true })]
  void disposable
  return [pipe(), pipe('tcp://*:1'), pipe(options), zeropipe, zeropipe.pipe()]
}

export function mistakes (): void {
  // @ts-expect-error a plain object is no job
  void push({})
  // @ts-expect-error nor is undefined
  void push(undefined)
  // @ts-expect-error nor a job within a job
  void push([['nested']])
  // @ts-expect-error nor is undefined a reply
  void reply(() => {})
  // @ts-expect-error nor an object
  void reply(async () => ({ answer: 42 }))
  // @ts-expect-error nor is an array that can't be changed, of what is no frame
  void push([{}] as const)
  // @ts-expect-error a signal by itself is no options
  void request('job', new AbortController().signal)
  // @ts-expect-error a reply needs a handler
  void reply({ concurrency: 2 })
  // @ts-expect-error a timeout is a number
  void request('job', { timeout: 'soon' })
  // @ts-expect-error there is no such option
  void pull({ nonsense: true })
  // @ts-expect-error there is no such event
  void on('nonsense', () => {})
  // @ts-expect-error a port alone is no endpoint
  void pipe({ push: 7777 })
}
