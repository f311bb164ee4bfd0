import type { DaemonTcp, LayerTcpSteal, NewTcpConnection } from "../../core/protocol/index.ts"
import { Allowance } from "../allowance.ts"
import type { AgentClient } from "../feature.ts"
import type { ReadableRoute } from "./connection.ts"
import { InputBudget } from "./input-budget.ts"
import { LostCopies } from "./lost-copies.ts"

/** What a client may say about one connection or request it was given. */
export interface ChannelStream {
  /** Bytes from the client; empty means it sends no more. */
  onClientData(bytes: Uint8Array): void
  onClientResponse(response: ClientResponse): void
  /** The client does not want it any more, or is gone. No message is owed. */
  onClientGone(): void
}

export type ClientResponse = Extract<LayerTcpSteal, { kind: `HttpResponse${string}` }>

/** What callers may go on sending to a client that does not read, so that those who share their HTTP/2 connections go on, in bytes. */
const maxLentBytes = 16 << 20

/** Largest piece of data put into one message. */
export const maxDataBytes = 64 << 10

/** The traffic of one client in one mode: its numbering and the way to send. */
export class ClientChannel {
  readonly client: AgentClient
  readonly budget: InputBudget
  readonly lost: LostCopies
  /** Counts the connections the client is sent a copy of. */
  readonly countCopied: (by: 1 | -1) => void
  readonly #kind: "Tcp" | "TcpSteal"
  readonly #streams = new Map<bigint, ChannelStream>()
  #nextId = 0n
  /** The client's queue is full: copies are for later or never. */
  full = false
  /** What copies for the client wait with. */
  waitingCopyBytes = 0
  /** What is lent to callers on its account. */
  readonly lending = new Allowance(maxLentBytes)

  constructor(client: AgentClient, kind: "Tcp" | "TcpSteal", countCopied: (by: 1 | -1) => void = () => {}) {
    this.client = client
    this.#kind = kind
    this.budget = new InputBudget(client)
    this.lost = new LostCopies(client)
    this.countCopied = countCopied
  }

  /** A fresh id for a connection or a request; `stream` hears what the client says about it. */
  open(stream: ChannelStream): bigint {
    const id = this.#nextId++
    this.#streams.set(id, stream)
    return id
  }

  /** The id is over without a message. */
  forget(id: bigint): void {
    this.#streams.delete(id)
  }

  /** False: the client's queue is full, wait for `client.whenWritable()`. */
  send(value: DaemonTcp): boolean {
    const writable = this.client.send({ kind: this.#kind, value })
    if (writable || this.full) return writable
    this.full = true
    void this.client.whenWritable().then(() => (this.full = false))
    return false
  }

  sendNewConnection(connectionId: bigint, from: ReadableRoute): boolean {
    const connection: NewTcpConnection = {
      connectionId,
      remoteAddress: from.source.ip,
      sourcePort: from.source.port,
      localAddress: from.destination.ip,
      destinationPort: from.destination.port,
    }
    return this.client.supports("modeAgnosticHttp")
      ? this.send({ kind: "NewConnectionV2", value: { connection, transport: from.transport } })
      : this.send({ kind: "NewConnectionV1", value: connection })
  }

  /** In messages of at most `maxDataBytes`. `bytes` is not empty. */
  sendData(connectionId: bigint, bytes: Uint8Array): boolean {
    if (bytes.length <= maxDataBytes) return this.send({ kind: "Data", value: { connectionId, bytes } })
    let writable = true
    for (let at = 0; at < bytes.length; at += maxDataBytes) {
      writable = this.send({ kind: "Data", value: { connectionId, bytes: bytes.subarray(at, at + maxDataBytes) } })
    }
    return writable
  }

  sendEnd(connectionId: bigint): void {
    this.send({ kind: "Data", value: { connectionId, bytes: new Uint8Array() } })
  }

  sendClose(connectionId: bigint): void {
    this.#streams.delete(connectionId)
    this.send({ kind: "Close", value: { connectionId } })
  }

  stream(id: bigint): ChannelStream | undefined {
    return this.#streams.get(id)
  }

  /** The client is gone: so is its interest in everything. */
  close(): void {
    const streams = [...this.#streams.values()]
    this.#streams.clear()
    for (const stream of streams) stream.onClientGone()
    this.budget.close()
    this.lost.close()
  }
}
