import type { Endpoint } from "../interceptor.ts"
import type { Logger } from "../log.ts"

/*
 * The border between the process engine (which knows system calls and nothing of the protocol) and the session's
 * features (which know the protocol and nothing of system calls). The engine asks, the features decide and answer.
 * A refusal is an `ErrnoError`; the engine hands its number to the program.
 */

/** A failure the program sees as a system call's errno. `errno` is the positive Linux number (2 = ENOENT). */
export class ErrnoError extends Error {
  override readonly name: string = "ErrnoError"
  readonly errno: number
  constructor(errno: number, message: string) {
    super(message)
    this.errno = errno
  }
}

/** Answer to an open: the cluster's owner wants this file to be the machine's own. Anywhere else the file is not there (ENOENT). */
export class OpenLocally extends ErrnoError {
  override readonly name = "OpenLocally"
  constructor() {
    super(2, "the file is to be opened on this machine")
  }
}

/** Starts a program whose whole process tree lives in the given world. Provided by exactly one plugin on the client. */
export interface Engine {
  /** Undefined when this machine can run the engine; else what is missing and the next step. */
  unavailable(): Promise<{ code: string; reason: string; next: string } | undefined>
  /** What works less well here than on other machines, as a sentence for people; undefined: nothing. */
  restriction(): Promise<string | undefined>
  launch(options: LaunchOptions): Promise<RunningProgram>
}

export interface LaunchOptions {
  command: string
  args: readonly string[]
  cwd: string
  /** The whole environment of the program; nothing is added to it. */
  env: Readonly<Record<string, string>>
  /**
   * Programs that see this machine and nothing of the world, wherever they are started: by the name of their file or by
   * what they are called. "*NAME": every name that ends so.
   */
  skipped?: readonly string[]
  world: World
  log: Logger
}

export interface RunningProgram {
  pid: number
  /** 0-255, or 128 + signal number. */
  exited: Promise<number>
  kill(signal: NodeJS.Signals): void
}

/** What is remote for the program. A part that is absent is left to the machine. */
export interface World {
  files?: FileWorld
  dns?: DnsWorld
  outgoing?: OutgoingWorld
  incoming?: IncomingWorld
  hostname?: () => Promise<string>
  /** There is no IPv6: sockets of it cannot be made. */
  withoutIpv6?: boolean
}

// ---- files

export type FileIntent = "read" | "write"

/** `path` is what to use from now on: the mapping of the configuration may have changed it. */
export interface FilePlace {
  place: "local" | "remote" | "not-found"
  path: string
}

/** Linux `struct stat` by meaning; times in nanoseconds since 1970. */
export interface RemoteStat {
  dev: bigint
  ino: bigint
  mode: number
  nlink: bigint
  uid: number
  gid: number
  rdev: bigint
  size: bigint
  blksize: bigint
  blocks: bigint
  atimeNs: bigint
  mtimeNs: bigint
  ctimeNs: bigint
}

export interface RemoteStatFs {
  type: bigint
  bsize: bigint
  blocks: bigint
  bfree: bigint
  bavail: bigint
  files: bigint
  ffree: bigint
  fsid: readonly [number, number]
  namelen: bigint
  frsize: bigint
  flags: bigint
}

export interface RemoteDirEntry {
  name: string
  ino: bigint
  /** DT_* number. */
  type: number
}

export interface OpenMode {
  read: boolean
  write: boolean
  append: boolean
  truncate: boolean
  create: boolean
  /** With `create`: fail when it exists. */
  exclusive: boolean
}

export interface FileWorld {
  /** Answers at once, without any round trip. `path` is absolute. */
  place(path: string, intent: FileIntent): FilePlace
  /** Answers at once: must a relative path not be found, though such paths are local? Absent: none has to. */
  hides?(relativePath: string): boolean
  /**
   * Fetches what a program that opens for reading needs in as few round trips as possible.
   * A directory is told apart by `stat.mode`; a file no larger than the read-ahead comes with its whole `content`.
   * @throws ErrnoError; OpenLocally
   */
  openForReading(path: string): Promise<{ file: RemoteFile; stat: RemoteStat; content?: Uint8Array }>
  /** @throws ErrnoError; OpenLocally */
  open(path: string, mode: OpenMode): Promise<RemoteFile>
  stat(path: string, followLinks: boolean): Promise<RemoteStat>
  statFs(path: string): Promise<RemoteStatFs>
  /** `mode`: R_OK 4, W_OK 2, X_OK 1, F_OK 0. */
  access(path: string, mode: number): Promise<void>
  readLink(path: string): Promise<string>
  makeDirectory(path: string, mode: number): Promise<void>
  removeDirectory(path: string): Promise<void>
  unlink(path: string): Promise<void>
  rename(from: string, to: string): Promise<void>
  /** All entries, `.` and `..` included. */
  list(path: string): Promise<RemoteDirEntry[]>
}

/** An open remote file. Positions are the engine's business. */
export interface RemoteFile {
  stat(): Promise<RemoteStat>
  /** At most `length` bytes; an empty result is the end of the file. */
  readAt(offset: bigint, length: number): Promise<Uint8Array>
  writeAt(offset: bigint, data: Uint8Array): Promise<number>
  /** Writes at the end, as O_APPEND does. */
  append(data: Uint8Array): Promise<number>
  truncate(size: bigint): Promise<void>
  setTimes(atimeNs: bigint, mtimeNs: bigint): Promise<void>
  setMode(mode: number): Promise<void>
  setOwner(uid: number, gid: number): Promise<void>
  close(): void
}

// ---- names

export interface DnsWorld {
  /** What the program finds as these files, absent ones are left to the `files` rules. */
  files(): Promise<{ resolvConf: string; hosts?: string; nsswitch?: string }>
  /** The address `resolvConf` names; the engine sends datagrams and streams for it to `answer`. */
  server: Endpoint
  /** Answers one DNS message (without the two length bytes of TCP); never rejects, SERVFAIL tells a failure. */
  answer(query: Uint8Array): Promise<Uint8Array>
}

// ---- outgoing

export type RemotePeer = { kind: "tcp" | "udp"; endpoint: Endpoint } | { kind: "unix" | "seqpacket"; path: Uint8Array }

export interface OutgoingWorld {
  /** Answers at once. */
  place(peer: RemotePeer): "local" | "remote"
  /**
   * Answers at once: where a TCP connection of this machine's own network leads instead, because the program has the address
   * from the pod, where its name may stand for another. Undefined: to that very address. @throws ErrnoError (the promise)
   */
  elsewhere?(endpoint: Endpoint): (() => Promise<Endpoint>) | undefined
  /** Resolves when the peer's answer is known. @throws ErrnoError with what `connect` says there. */
  connect(peer: RemotePeer): Promise<RemoteConnection>
}

/** A byte stream (tcp, unix) or a sequence of datagrams (udp, seqpacket) with somebody in the pod's network. */
export interface RemoteConnection {
  /** As the agent saw them, until somebody knows better; absent for unix sockets. */
  local?: Endpoint
  remote?: Endpoint
  /** False: stop producing until `onDrain`. */
  write(data: Uint8Array): boolean
  /** Half close: no more data from here. */
  end(): void
  /** Ends both directions at once. */
  close(): void
  pause(): void
  resume(): void
  /**
   * Nothing is delivered before this is called. `onEnd`: half close by the peer; `onClose`: over, both ways. `byPeer`: the agent said
   * so, which of datagrams means that they are refused there.
   */
  attach(handlers: {
    onData(data: Uint8Array): void
    onDrain(): void
    onEnd(): void
    onClose(byPeer?: boolean): void
  }): void
}

// ---- incoming

export interface IncomingWorld {
  /** Nothing comes in: every listener is as one on a port the kernel chose. */
  isOff?: boolean
  /** Answers at once: does a `listen` of the program at this address, as it asked for it, concern the session? */
  wants(requested: Endpoint): boolean
  /**
   * Answers at once: the port of this machine a `bind` to `port` is to take instead, and no other; undefined: the program's
   * own, or another when that is not free.
   */
  listenPort?(port: number): number | undefined
  /**
   * The program began to listen. `requested` is the port it asked `bind` for, `local` where it can really be reached.
   * Resolves when the port is subscribed. @throws ErrnoError EADDRINUSE when it is refused.
   */
  listening(listener: { requested: Endpoint; local: Endpoint }): Promise<void>
  /**
   * The program began, or stopped, to listen on a port the kernel chose for it (any, when nothing comes in): none of the
   * pod's, but its own connections over the loopback lead there.
   */
  chosen?(port: number, isOpen: boolean): void
  /** The program, or the last process that had the listener, closed it. */
  closed(listener: { requested: Endpoint; local: Endpoint }): void
  /**
   * For a connection accepted from `localSource` (an address of this machine the features connected from): who is really
   * calling and whom. Undefined for the developer's own local connections. A promise when the program was faster to accept
   * than the features were to learn which port they connected from.
   */
  peerOf(localSource: Endpoint): IncomingPeer | undefined | Promise<IncomingPeer | undefined>
  /** The program has ended: resolves when what it said last to its callers is on its way; false when that is not to be had. */
  lastWords?(): Promise<boolean>
}

export interface IncomingPeer {
  source: Endpoint
  destination: Endpoint
}
