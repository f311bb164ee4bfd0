import {
  type DnsWorld,
  ErrnoError,
  type IncomingWorld,
  type OutgoingWorld,
  type RemoteConnection,
  type RemotePeer,
} from "../../core/client/engine.ts"
import type { Endpoint } from "../../core/interceptor.ts"
import { errno } from "../../core/linux/errno.ts"

type Handlers = Parameters<RemoteConnection["attach"]>[0]

export interface MemoryNetworkOptions {
  /** Called before each connect is answered; may throw an ErrnoError. */
  connecting?(peer: RemotePeer): Promise<void> | void
  /** Called with what the program sends; what it gives back is sent to the program. Default: the same bytes (an echo). */
  answer?(data: Uint8Array, peer: RemotePeer): Uint8Array | undefined
  /** For how long what is written keeps the other side from taking more, in milliseconds. Default: not at all. */
  slowness?(data: Uint8Array): number
  /** Called with what the program sends: true refuses it, which ends the connection. */
  refuses?(peer: RemotePeer): boolean
  /** How long what is given back takes, in milliseconds. Default: no time. */
  answersAfterMs?: number
  /** Default: addresses beginning with "10.99." or "fd99:", unix paths beginning with "/remote". */
  isRemote?(peer: RemotePeer): boolean
}

const podAddress = "10.99.0.7"

/** A network in memory: every remote endpoint is an echo service, unless told otherwise. */
export class MemoryNetwork implements OutgoingWorld {
  readonly connected: RemotePeer[] = []
  open = 0
  /** Connections whose program ended its direction, and that were not closed outright. */
  ended = 0
  readonly #options: MemoryNetworkOptions
  #nextPort = 40_000

  constructor(options: MemoryNetworkOptions = {}) {
    this.#options = options
  }

  place(peer: RemotePeer): "local" | "remote" {
    const isRemote = this.#options.isRemote ?? isRemoteByDefault
    return isRemote(peer) ? "remote" : "local"
  }

  async connect(peer: RemotePeer): Promise<RemoteConnection> {
    await this.#options.connecting?.(peer)
    this.connected.push(peer)
    this.open++
    let handlers: Handlers | undefined
    let isOpen = true
    const waiting: (() => void)[] = []
    let paused = false
    const deliver = (what: () => void) => {
      if (!handlers || paused) waiting.push(what)
      else what()
    }
    const flush = () => {
      while (handlers && !paused && waiting.length > 0) waiting.shift()!()
    }
    return {
      ...("endpoint" in peer && { local: { ip: podAddress, port: this.#nextPort++ }, remote: peer.endpoint }),
      write: (data) => {
        if (this.#options.refuses?.(peer)) {
          deliver(() => handlers!.onClose(true))
          return true
        }
        const bytes = this.#options.answer ? this.#options.answer(data, peer) : data
        const { answersAfterMs } = this.#options
        if (bytes && answersAfterMs === undefined) deliver(() => handlers!.onData(bytes))
        else if (bytes) setTimeout(() => deliver(() => handlers!.onData(bytes)), answersAfterMs)
        const wait = this.#options.slowness?.(data)
        if (wait === undefined) return true
        setTimeout(() => handlers?.onDrain(), wait)
        return false
      },
      end: () => {
        this.ended++
        deliver(() => handlers!.onEnd())
      },
      close: () => {
        if (!isOpen) return
        isOpen = false
        this.open--
        handlers?.onClose()
      },
      pause: () => {
        paused = true
      },
      resume: () => {
        paused = false
        flush()
      },
      attach: (given) => {
        handlers = given
        flush()
      },
    }
  }
}

function isRemoteByDefault(peer: RemotePeer): boolean {
  if ("path" in peer) return Buffer.from(peer.path).toString("latin1").startsWith("/remote")
  return peer.endpoint.ip.startsWith("10.99.") || peer.endpoint.ip.startsWith("fd99:")
}

/** An `answer` that is an HTTP server: one request, one response, with the body given. */
export function httpAnswer(
  body: (head: string, peer: RemotePeer) => string,
): (data: Uint8Array, peer: RemotePeer) => Uint8Array {
  return (data, peer) => {
    const text = body(Buffer.from(data).toString("latin1"), peer)
    return Buffer.from(
      `HTTP/1.1 200 OK\r\ncontent-length: ${Buffer.byteLength(text)}\r\nconnection: close\r\n\r\n${text}`,
    )
  }
}

/** A resolver that knows some names. */
export class MemoryDns implements DnsWorld {
  readonly server: Endpoint = { ip: "10.99.0.10", port: 53 }
  readonly asked: string[] = []
  readonly #names: Record<string, string>

  constructor(names: Record<string, string>) {
    this.#names = names
  }

  async files() {
    return {
      resolvConf: `nameserver ${this.server.ip}\nsearch default.svc.cluster.local\noptions ndots:1\n`,
      hosts: "127.0.0.1 localhost\n10.99.0.7 the-pod\n",
      nsswitch: "passwd: files\ngroup: files\nhosts: files dns\nservices: files\n",
    }
  }

  async answer(query: Uint8Array): Promise<Uint8Array> {
    const bytes = Buffer.from(query)
    const labels: string[] = []
    let at = 12
    while (bytes[at]) {
      labels.push(bytes.toString("latin1", at + 1, at + 1 + bytes[at]!))
      at += bytes[at]! + 1
    }
    const name = labels.join(".")
    const type = bytes.readUInt16BE(at + 1)
    const question = bytes.subarray(12, at + 5)
    this.asked.push(`${name} ${type}`)
    const ip = this.#names[name.toLowerCase()]
    const hasAnswer = ip !== undefined && type === 1
    const head = Buffer.from([
      bytes[0]!,
      bytes[1]!,
      0x81,
      ip === undefined ? 0x83 : 0x80,
      0,
      1,
      0,
      hasAnswer ? 1 : 0,
      0,
      0,
      0,
      0,
    ])
    if (!hasAnswer) return Buffer.concat([head, question])
    const record = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, ...ip.split(".").map(Number)])
    return Buffer.concat([head, question, record])
  }
}

/** Notes what the program listens on, and knows the callers it was told of. */
export class MemoryIncoming implements IncomingWorld {
  readonly listeners: { requested: Endpoint; local: Endpoint }[] = []
  readonly closedPorts: number[] = []
  /** Ports the kernel chose for the program's listeners that are open now. */
  readonly chosenPorts = new Set<number>()
  /** Port asked for, to the one of this machine to take. */
  readonly listenPorts = new Map<number, number>()
  /** True caller by local port. */
  readonly callers = new Map<number, { source: Endpoint; destination: Endpoint }>()
  /** Settles when the next caller is known: a program may accept before the features have learnt their port. */
  expected: Promise<void> | undefined
  readonly #refused: number[]
  #heard: (() => void)[] = []

  constructor(refused: number[] = []) {
    this.#refused = refused
  }

  wants(): boolean {
    return true
  }

  listenPort(port: number): number | undefined {
    return this.listenPorts.get(port)
  }

  async listening(listener: { requested: Endpoint; local: Endpoint }): Promise<void> {
    if (this.#refused.includes(listener.requested.port)) throw new ErrnoError(errno.EADDRINUSE, "port is taken")
    this.listeners.push(listener)
    this.#tell()
  }

  chosen(port: number, isOpen: boolean): void {
    if (isOpen) this.chosenPorts.add(port)
    else this.chosenPorts.delete(port)
    this.#tell()
  }

  closed({ requested }: { requested: Endpoint }): void {
    this.closedPorts.push(requested.port)
    this.#tell()
  }

  peerOf(source: Endpoint) {
    const known = this.callers.get(source.port)
    return known ?? this.expected?.then(() => this.callers.get(source.port))
  }

  /** Resolves when `check` gives something, which is looked at whenever the program listens or stops to. */
  async until<T>(check: () => T | undefined): Promise<T> {
    for (;;) {
      const found = check()
      if (found !== undefined) return found
      await new Promise<void>((resolve) => this.#heard.push(resolve))
    }
  }

  #tell(): void {
    const heard = this.#heard
    this.#heard = []
    for (const resolve of heard) resolve()
  }
}
