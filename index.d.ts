/// <reference types="node" />

/**
 * zeropipe hands jobs from one program to others: `push(job)` on one side, `for await (const [msg] of pull())` on any
 * number of others; `await request(job)` and `reply(handler)` where an answer is wanted. Underneath are the ZeroMQ patterns pipeline
 * (PUSH/PULL, RFC 30) and request-reply (DEALER/ROUTER, RFC 28), on ZMTP 3.1 (RFC 37), so any ZeroMQ program can be at the other end.
 *
 * Two words are used everywhere. A job is **accepted** when `push` resolves: it is in the bounded queue and its bytes
 * have been taken. It is **delivered** when a zeropipe peer has acknowledged it, or the connection of any other peer has
 * taken all of it. Between two zeropipe ends no job is lost when a worker dies, and none is sent to a worker that could not
 * begin with it soon: see docs/flow.md.
 *
 * @packageDocumentation
 */

/**
 * What one frame is made from: text (as UTF-8), a number (as its decimal text), bytes of any kind
 * and of any realm, or `null` (an empty frame). Bytes whose memory is gone (detached, or out of its
 * bounds) are refused with `ERR_ZEROPIPE_INVALID_JOB`.
 */
export type MessageLike = string | number | ArrayBufferView | ArrayBuffer | SharedArrayBuffer | null

/** A job as it arrives: all its frames, in order; never empty. */
export type Message = Buffer[]

/** An error of zeropipe. */
export interface ZeropipeError extends Error {
  /**
   * Stable. The system's own where the system refused (`EADDRINUSE`, `EADDRNOTAVAIL`, `EACCES`, `ENOENT`, ...), else
   * `ERR_ZEROPIPE_CLOSED`, `ERR_ZEROPIPE_INVALID_ENDPOINT`, `ERR_ZEROPIPE_INVALID_JOB`, `ERR_ZEROPIPE_INVALID_OPTION`,
   * `ERR_ZEROPIPE_MESSAGE_TOO_LARGE`, `ERR_ZEROPIPE_JOB_FAILED`, `ERR_ZEROPIPE_TIMEOUT`, `ERR_ZEROPIPE_UNSUPPORTED`,
   * `ERR_ZEROPIPE_NOT_LOADED` or `ERR_ZEROPIPE_INTERNAL`. Of a request, whatever code the error of its handler had.
   */
  code: string
}

/** Who sent a job. */
export interface Source {
  /** Where it is, as `tcp://10.0.0.7:41234`. */
  address: string
  /** The name it gave itself (the option `identity`), or an empty string. */
  identity: string
}

/** What is known of a job. */
export interface JobInfo {
  /**
   * The same at every attempt: of a job from a zeropipe pusher on whatever worker, of any other within this process. What to
   * deduplicate by.
   */
  id: string
  /** 1 the first time. Higher if a worker before had it and died, or failed on it. */
  attempt: number
  /** Who sent it. */
  from: Source
}

/** A job together with what is known of it. */
export interface InformedJob extends JobInfo {
  job: Message
}

/** Options of every form of `pull`. */
export interface PullOptions {
  /** Ends the loop: what waits rejects with `signal.reason`. No job is lost by it. */
  signal?: AbortSignal
  /**
   * How many jobs zeropipe pushers may send ahead of those being worked on. `'auto'`, the default, follows the pace of the
   * loop: as many as it does in 20 ms and the time that it takes to ask, so none if its jobs take longer. A number fixes
   * it: such jobs stay with this worker, however long the others take.
   */
  prefetch?: number | 'auto'
}

/** Where one end binds or connects: one address or several. At least one must be given. */
export interface Sites {
  /** Addresses to listen on. Port `*` or `0` lets the system choose; `stats()` tells which. */
  bind?: string | readonly string[]
  /** Addresses to dial, again and again, for as long as the pipe is open. */
  connect?: string | readonly string[]
}

/** Options of a pipe of your own. */
export interface PipeOptions {
  /** Where jobs go out. An address alone is bound. */
  push?: string | Sites
  /** Where jobs come in. An address alone is connected to. */
  pull?: string | Sites
  /** Where requests go out. An address alone is connected to. */
  request?: string | Sites
  /** Where requests come in, to be answered. An address alone is bound. */
  reply?: string | Sites
  /**
   * What may wait in push before `push` itself waits: default 100,000 jobs and 64 MiB. As much again may be in flight
   * to zeropipe workers; with more than fifty of them, a fiftieth of those jobs to each.
   */
  highWaterMark?: {
    /** Jobs. */
    messages?: number
    /** Bytes of their frames; every frame of a job beyond its first counts 64 more. A job over the mark is taken when nothing else waits. */
    bytes?: number
  }
  /**
   * What a whole job may have, in both directions: bytes, where every frame beyond the first counts 64 more; default
   * 64 MiB, at most 2 GiB - 1. A job never has more than 1,024 frames.
   */
  maxMessageSize?: number
  /**
   * Milliseconds to go on delivering jobs and waiting for replies: from `close()` on; and at exit,
   * when nothing else keeps the process, of jobs from then on, of requests from the last that was
   * made or settled on (up to a quarter more, as it is looked four times). What is left after it is
   * given up: requests reject with `ERR_ZEROPIPE_CLOSED`, and a process warning
   * (`ZEROPIPE_GAVE_UP`) counts both. Default: until everything is delivered and answered. What was
   * delivered to plain workers (any other ZeroMQ peer) is waited for until the system has sent it.
   */
  linger?: number
  /**
   * How often a job may be tried before it is dead (event `dead`): default 20. An attempt is a worker that died with the job or
   * a handler that failed on it. Counted by the pusher; for jobs of pushers that don't acknowledge, by the worker.
   */
  maxAttempts?: number
  /**
   * Milliseconds that a zeropipe worker may work on a job before it goes to another one too, for workers that
   * hang and stay connected; waiting in line at a busy worker does not count. Default: no limit. Choose it well
   * above what a job can take. The job never goes to a worker that still holds it: if all do, it waits, and a
   * process warning (`ZEROPIPE_WAITING`) says so. A slot that such a job has taken is free when its handler
   * settles, not before.
   */
  ackTimeout?: number
  /** ZMTP heartbeats, with peers that know them (ZMTP 3.1). */
  heartbeat?: {
    /** Milliseconds between two questions: default 5,000; 0 asks never. */
    interval?: number
    /** Milliseconds of silence after a question until the peer counts as gone: default 15,000. */
    timeout?: number
  }
  /** A name that is told to peers, at most 255 bytes of UTF-8. */
  identity?: string
}

/** A connected peer. What is said of a puller holds for a replier, what of a pusher for a requester. */
export interface PeerStats {
  /** Where it is. */
  address: string
  /** The name it gave itself, or an empty string. */
  identity: string
  /** Whether jobs are acknowledged between us: so it is with every zeropipe peer. */
  flow: boolean
  /** How many more jobs may be sent to it (a puller) or by it (a pusher) at this moment. 0 without flow. */
  credit: number
  /** Jobs that were sent and are not settled. 0 without flow. */
  inFlight: number
  /** Jobs that were acknowledged; without flow those that its connection has taken (a puller). */
  done: number
  /** Of the jobs it was sent (a puller), how many had been with a worker before. */
  redelivered: number
  /** Jobs it was sent (a puller), or sent (a pusher). */
  jobs: number
}

/** A snapshot of an end where jobs go out: `push`, or `request`, whose jobs are requests. */
export interface PushStats {
  /** Where it listens, with the ports that the system chose. */
  bound: string[]
  /** Who is connected. */
  peers: PeerStats[]
  /** Jobs that are accepted and wait for a worker. */
  queued: number
  /** What they count against `highWaterMark.bytes`. */
  queuedBytes: number
  /** Jobs that zeropipe workers have and did not acknowledge yet. */
  inFlight: number
  /** What they count in bytes. */
  inFlightBytes: number
  /** Jobs that have been delivered, or requests that have been answered. */
  done: number
  /** How often a job was sent again after an attempt had failed. */
  redelivered: number
  /** Jobs that were given up after `maxAttempts`. */
  dead: number
}

/** A snapshot of an end where jobs come in: `pull`, or `reply`, whose jobs are requests. */
export interface PullStats {
  /** Where it listens, with the ports that the system chose. */
  bound: string[]
  /** Who is connected. */
  peers: PeerStats[]
  /** Jobs that have been received, without those that went back unstarted. */
  received: number
}

/** A snapshot of a pipe, taken without waiting. */
export interface PipeStats {
  push: PushStats
  pull: PullStats
  request: PushStats
  reply: PullStats
}

/** One of the ends of a pipe. */
export type End = 'push' | 'pull' | 'request' | 'reply'

/**
 * The events of a pipe, by name. Listeners run in the async context in which the pipe was made, as
 * those of a server of Node do.
 */
export interface PipeEvents {
  /** An end listens. */
  listening: [event: { end: End, address: string }]
  /** A peer has shaken hands. */
  join: [event: { end: End, address: string, identity: string, flow: boolean }]
  /** A peer is gone. */
  leave: [event: { end: End, address: string, identity: string, flow: boolean, code: string, reason: string }]
  /**
   * A connection was ended because of what the peer is or did: a handshake that failed, a protocol that was broken, a
   * message over the limit; or a message was ignored, because it is no request. `code` is one of `ERR_ZEROPIPE_NOT_ZMTP`, `ERR_ZEROPIPE_INCOMPATIBLE_PEER`,
   * `ERR_ZEROPIPE_PROTOCOL`, `ERR_ZEROPIPE_MESSAGE_TOO_LARGE`, `ERR_ZEROPIPE_TIMEOUT`,
   * `ERR_ZEROPIPE_DISCONNECTED`, or the system's.
   */
  refused: [event: { end: End, address: string, code: string, reason: string }]
  /**
   * Nobody could be reached at an address that this end dials: before its other side is started
   * (`ECONNREFUSED`, `ENOENT`), or because it is wrong (`ENOTFOUND`, `EACCES`, `ENOTDIR`,
   * `ETIMEDOUT`, ...). It is dialled on. Told when such a failure begins, after a connection anew,
   * and while it lasts once a minute for each code.
   */
  unreachable: [event: { end: End, address: string, code: string, reason: string }]
  /**
   * A job has failed `maxAttempts` times and is given up. Told where it was pushed, with an error of the code
   * `ERR_ZEROPIPE_JOB_FAILED` that says what the last worker said; of jobs from a pusher that does not acknowledge, where the
   * handler ran, with what it rejected with. So are requests whose handler has failed and whose requester can't be told. Without a
   * listener it is a process warning.
   */
  dead: [event: { job: Message, id: string, attempt: number, error: unknown }]
}

/**
 * Members of a pipe. Each can be taken off it and called by itself. Errors reject; only `on`,
 * `once` and `off` throw.
 *
 * What waits for 3 s and may do so for ever says so by a process warning (`ZEROPIPE_WAITING`), once
 * in a process for each address and reason: where it waits, for whom, and why if that is known.
 * Namely a loop, a handler or `ready` at an end that dials, and to which nobody was connected for
 * those 3 s; a push, or an open request, without a worker; a push that waits for room while the
 * connected workers take no job and finish none; `drain`, `close` and the end of the process.
 *
 * Options are a plain object (of any realm, or without a prototype) with no other names than are
 * given here, each read once. Anything else rejects with `ERR_ZEROPIPE_INVALID_OPTION`, whose text
 * says what was probably meant.
 */
export interface Pipe {
  /**
   * Hands over a job: one frame, or an array of up to 1,024 frames. Resolves when it is accepted,
   * which is at once while the queue has room: a queue at its high-water mark makes `push` wait. A
   * job for which there is no worker yet waits for one. Jobs are accepted in the order of the
   * calls. Of thousands that wait at a time, some that were pushed in a row resolve together, when
   * the last of them is accepted: never more than a 64th of those that wait, or of the high-water
   * mark.
   *
   * The first call opens the end. Rejects with `ERR_ZEROPIPE_INVALID_JOB`, `ERR_ZEROPIPE_MESSAGE_TOO_LARGE`,
   * `ERR_ZEROPIPE_CLOSED`, with why the end can't be opened, or with `signal.reason`; the job is not sent then.
   *
   * Each job goes to one peer, round robin over those that can take one now (RFC 30, section "PUSH").
   *
   * @example
   * await push('resize cat.jpg')
   * await push(['resize', imageBytes])
   */
  push (job: MessageLike | readonly MessageLike[], options?: { signal?: AbortSignal }): Promise<void>

  /**
   * Jobs as they come, from all peers in turn (RFC 30, section "PULL"). The first step opens the end. Several loops
   * share the jobs, each goes to one of them. A loop that waits keeps the process alive. `break` ends a loop and loses
   * nothing, and so does `await using`; closing the pipe ends it normally.
   *
   * A job is done when its loop asks for the next one or leaves. A throw that ends the process gives it back to its
   * pusher, who sends it to another worker; one that the program catches counts as done, like `break`: use a handler where
   * failure must give the job back.
   *
   * Frames are views of a larger buffer: copy what you keep for long (`Buffer.from(msg)`).
   *
   * @example
   * for await (const [msg] of pull()) await work(msg.toString())
   */
  pull (options?: PullOptions): AsyncIterableIterator<Message> & AsyncDisposable
  /** One to `batch` jobs at a time: those that are there, without waiting for more. All are done when the next batch is asked for. */
  pull (options: PullOptions & { batch: number }): AsyncIterableIterator<Message[]> & AsyncDisposable
  /** Jobs together with what is known of them. */
  pull (options: PullOptions & { info: true }): AsyncIterableIterator<InformedJob> & AsyncDisposable
  /**
   * Calls `handler` for each job, at most `concurrency` (default 1) at a time. A job is done when its promise fulfils. One
   * whose handler rejects is tried again after `min(100 ms * 2^(attempt - 1), 30 s)`, less up to half of that by chance,
   * while others pass it: by any worker if a zeropipe pipe has pushed it, else by this process. After `maxAttempts` it is
   * dead (event `dead`). Resolves when the pipe is closed, rejects with `signal.reason` when that
   * is aborted, in both cases once the running handlers have settled.
   *
   * Each call of the handler is an async resource of its own (`zeropipe:pull`, of `reply`
   * `zeropipe:reply`) in the async context of the call of `pull`: an `AsyncLocalStorage` gives what
   * it gives there.
   *
   * @example
   * await pull(async ([url]) => { await fetch(url.toString()) }, { concurrency: 8 })
   */
  pull (handler: (job: Message, info: JobInfo) => unknown, options?: PullOptions & { concurrency?: number }): Promise<void>

  /**
   * Asks: hands over a request, which is a job like those of `push`, and resolves with the frames of the reply. Many may be open at a
   * time; each reply comes to who has asked, whatever the order. The first call opens the end.
   *
   * Where both ends are zeropipe, a request whose worker dies goes to another, at least once and at
   * most `maxAttempts` times, and the error of a handler comes here, with its `message` and its
   * `code` (`ERR_ZEROPIPE_JOB_FAILED` if that is no string). Of an AggregateError the message goes
   * on with those of its errors; of a value without a message it is that value, as text. A REP or
   * ROUTER of another library can do neither: choose a `timeout`.
   *
   * Rejects with `ERR_ZEROPIPE_TIMEOUT` after `timeout` milliseconds (0 to 2^31 - 1; default: never), with `signal.reason`, with
   * `ERR_ZEROPIPE_CLOSED` if the pipe is closed before the reply has come, with `ERR_ZEROPIPE_JOB_FAILED` if `maxAttempts` workers
   * have died, or as `push` does. Of a handler's error the first 1,024 bytes of the message and 255 of the code come here. A reply
   * that is none (as `undefined`), or is over the replier's `maxMessageSize`, rejects with `ERR_ZEROPIPE_INVALID_JOB` or
   * `ERR_ZEROPIPE_MESSAGE_TOO_LARGE`, as does one over ours, which is not read; the connection stays.
   *
   * A request that nobody waits for any more is not sent to a worker; one that has begun is not
   * stopped. One that is open keeps the process alive, as a job does that is not delivered:
   * `linger` bounds both. Its bytes are taken at once while the end is open and has room; else
   * don't change them before it has settled.
   *
   * On the wire it is the message of a DEALER with an envelope of two frames (RFC 28, section "REQ": an address, by which
   * replies are told apart, and the empty delimiter), so REP and ROUTER peers of any ZeroMQ fit. Those two frames count: 140 bytes and
   * 2 of the 1,024 frames.
   *
   * @example
   * const [answer] = await request('2 + 3', { timeout: 5_000 })
   */
  request (job: MessageLike | readonly MessageLike[], options?: { signal?: AbortSignal, timeout?: number }): Promise<Message>

  /**
   * Answers: calls `handler` for each request, at most `concurrency` (default 1) at a time, and sends what it returns, or resolves
   * to, back to who has asked. `undefined` is no reply: return `null` for an empty one. If it throws, or its promise rejects, the
   * request rejects with that error's `message` and `code`; a requester of another library can't be told (event `dead`).
   * Several processes, and several calls, share the requests; each goes to one of them.
   *
   * Resolves when the pipe is closed, rejects with `signal.reason` when that is aborted, in both cases once the running handlers have
   * settled and their replies are on their way.
   *
   * A ROUTER on the wire (RFC 28): REQ and DEALER peers of any ZeroMQ fit. A message without an empty frame before its body is no
   * request: it is ignored, and told by the event `refused`.
   *
   * @example
   * await reply(async ([path]) => await readFile(path.toString()))
   */
  reply (handler: (job: Message, info: JobInfo) => MessageLike | readonly MessageLike[] | Promise<MessageLike | readonly MessageLike[]>, options?: PullOptions & { concurrency?: number }): Promise<void>

  /**
   * Opens every end that the pipe has and resolves when each bind listens; asked for `pullers`, `pushers`, `repliers` or
   * `requesters`, when that many are connected too. (A pipe with one address for all its ends opens those whose peers are asked for,
   * else push and pull.)
   */
  ready (options?: { pullers?: number, pushers?: number, repliers?: number, requesters?: number, signal?: AbortSignal }): Promise<void>

  /** Resolves when everything pushed so far is delivered, or dead. Awaited in the loop body that has such a job in hand, it waits for ever. */
  drain (options?: { signal?: AbortSignal }): Promise<void>

  /** What there is, now. Before the first call of another member it is empty; after the close only the counts are left. */
  stats (): PipeStats

  /**
   * Closes: later pushes and requests reject, earlier ones are delivered and answered for at most `linger` milliseconds (default: the
   * pipe's), then loops end (`done: true`). Doesn't wait for a loop body or handler of this pipe, so it can be called inside one: their
   * job stays theirs until they are done with it, and what the pipe has sent to itself they go on with. What `linger` gives
   * up is told by a process warning (`ZEROPIPE_GAVE_UP`).
   */
  close (options?: { linger?: number }): Promise<void>

  /**
   * Calls `listener` at every such event. As `once` and `off`, throws `ERR_ZEROPIPE_INVALID_OPTION`
   * if there is no event of that name.
   */
  on<Name extends keyof PipeEvents> (name: Name, listener: (...event: PipeEvents[Name]) => void): this
  /** Calls `listener` at the next such event. */
  once<Name extends keyof PipeEvents> (name: Name, listener: (...event: PipeEvents[Name]) => void): this
  /** Calls `listener` no more. */
  off<Name extends keyof PipeEvents> (name: Name, listener: (...event: PipeEvents[Name]) => void): this

  /** The same as `close()`: for `await using`. */
  [Symbol.asyncDispose] (): Promise<void>
}

/**
 * A pipe of your own: the members of the default pipe on other endpoints, with its own sockets, options and end.
 *
 * An endpoint is `tcp://host:port` (an IPv6 address in brackets; `*` for every address of this machine), `ipc://path`,
 * `ipc://@abstract` (Linux) or `inproc://name` (across the threads of this process). One address alone means: push
 * binds it and pull connects to it, or else reply binds it and request connects to it (a wildcard host is localhost to the
 * connecting side). Every end can bind or connect, to many addresses at once.
 *
 * Wrong options are an error of each later call: `ERR_ZEROPIPE_INVALID_ENDPOINT` or
 * `ERR_ZEROPIPE_INVALID_OPTION`. An end that is there and `undefined` is wrong, as one from a
 * variable that is not set; other options may be `undefined`.
 *
 * @example
 * const jobs = pipe('tcp://*:7777')
 * const results = pipe({ pull: { bind: 'tcp://*:7779' }, highWaterMark: { messages: 1000 } })
 */
export function pipe (options?: string | PipeOptions): Pipe

/*
 * The default pipe: one per process, shared by all its threads. `push` binds tcp://127.0.0.1:7777 and `pull` connects to
 * tcp://localhost:7777; `reply` binds tcp://127.0.0.1:7778 and `request` connects to tcp://localhost:7778. The environment variable
 * ZEROPIPE_ENDPOINT names another address for all of them, ZEROPIPE_REQUEST_ENDPOINT one for requests. Closed, it opens again at the
 * next call.
 */
export const push: Pipe['push']
export const pull: Pipe['pull']
export const request: Pipe['request']
export const reply: Pipe['reply']
export const ready: Pipe['ready']
export const drain: Pipe['drain']
export const stats: Pipe['stats']
export const close: Pipe['close']
export const on: Pipe['on']
export const once: Pipe['once']
export const off: Pipe['off']

/** The default pipe. */
declare const defaultPipe: Pipe & { pipe: typeof pipe }
export default defaultPipe
