import type { Speaker } from "../../../last-words.ts"
import type {
  ChunkedRequest,
  HttpBodyFrame,
  HttpHeaders,
  HttpVersion,
  TrafficTransport,
} from "../../../protocol/index.ts"
import type { Conversation } from "../../conversation.ts"
import type { IncomingPeer } from "../../engine.ts"
import { BudgetShare, type InputBudget } from "../input-budget.ts"
import type { Exchange, ExchangeEvents, ExchangeRequest } from "./exchange.ts"
import { HttpAnswer } from "./http-answer.ts"

/** A request as any of the protocol's messages brings it. */
export interface IncomingRequest {
  connectionId: bigint
  requestId: number
  port: number
  request: { method: string; uri: string; version: HttpVersion; headers: HttpHeaders }
  frames: readonly HttpBodyFrame[]
  isLast: boolean
  peer: IncomingPeer
  transport: TrafficTransport
}

export interface DeliveryOptions {
  conversation: Conversation
  steal: boolean
  budget: InputBudget
  /** Begins the exchange with the program; undefined when nobody listens for this port any more. */
  exchange(request: ExchangeRequest, of: IncomingRequest, events: ExchangeEvents): Exchange | undefined
  onOver(): void
}

/** One intercepted HTTP request: to the program, and, when stolen, its answer back. */
export class RequestDelivery implements ExchangeEvents, Speaker {
  readonly #options: DeliveryOptions
  readonly #answer: HttpAnswer | undefined
  readonly #connectionId: bigint
  readonly #exchange: Exchange | undefined
  readonly #share: BudgetShare
  #answered = false
  #bodyDone = false
  #upgraded = false
  #over = false
  #tunnelEnd = false
  #isProgramGone = false
  passedBytes = 0

  constructor(incoming: IncomingRequest, options: DeliveryOptions) {
    const { connectionId, requestId, port, request, frames, isLast } = incoming
    this.#options = options
    this.#connectionId = connectionId
    this.#answer = options.steal ? new HttpAnswer(options.conversation, { connectionId, requestId, port }) : undefined
    this.#share = new BudgetShare(options.budget)
    const hasBody = !isLast || frames.length > 0
    this.#exchange = options.exchange({ ...request, hasBody }, incoming, this)
    if (this.#exchange) this.#takeFrames(frames, isLast)
    else this.failed(`nothing listens for port ${port}`)
  }

  // ---- from the agent

  /** A part of the request's body. */
  bodyPart(frames: readonly HttpBodyFrame[], isLast: boolean): void {
    if (!this.#over) this.#takeFrames(frames, isLast)
  }

  /** The caller is gone, or everything is done. A mirrored request runs to its end. */
  closedByAgent(): void {
    if (this.#over || (!this.#options.steal && this.#bodyDone)) return
    this.lost()
  }

  tunnelData(bytes: Uint8Array): void {
    this.#exchange?.tunnel(bytes)
    this.drained()
  }

  lost(): void {
    // Its ids may soon be those of another request.
    this.#answer?.abandon()
    this.#exchange?.cancel()
    this.#finish()
  }

  get isSpeaking(): boolean {
    return this.#options.steal && !this.#over && !this.#answered && !this.#tunnelEnd
  }

  /** Without a beginning of an answer there will be none from here: the agent hands the request to the application when we leave. */
  programGone(): void {
    this.#isProgramGone = true
    this.#exchange?.stopTrying?.()
  }

  // ---- from the program

  head(head: Parameters<ExchangeEvents["head"]>[0]): void {
    this.#answer?.head(head)
    if (head.status !== 101) return
    this.#upgraded = true
    this.#answer?.done(undefined)
  }

  body(bytes: Uint8Array): void {
    this.passedBytes += bytes.byteLength
    if (!this.#answer || this.#answer.body(bytes)) return
    this.#exchange?.pause()
    void this.#answer.whenWritable().then(() => this.#exchange?.resume())
  }

  done(trailers: HttpHeaders | undefined): void {
    this.#answered = true
    this.#answer?.done(trailers)
    this.#finishWhenDone()
  }

  tunnel(bytes: Uint8Array): void {
    this.passedBytes += bytes.byteLength
    if (bytes.byteLength === 0) this.#tunnelEnd = true
    if (this.#over || !this.#options.steal) return
    const { conversation } = this.#options
    const value = { connectionId: this.#connectionId, bytes }
    if (conversation.send({ kind: "TcpSteal", value: { kind: "Data", value } })) return
    this.#exchange?.pause()
    void conversation.whenWritable().then(() => this.#exchange?.resume())
  }

  /** Keeps the budget equal to what waits. */
  drained(): void {
    this.#share.set(this.#over ? 0 : (this.#exchange?.waitingBytes ?? 0))
  }

  failed(reason: string): void {
    if (this.#over) return
    if (this.#upgraded) {
      const value = { kind: "ConnectionUnsubscribe", value: this.#connectionId } as const
      if (this.#options.steal) this.#options.conversation.send({ kind: "TcpSteal", value })
    } else if (this.#isProgramGone && !this.#answer?.begun) this.#answer?.abandon()
    else this.#answer?.fail(reason)
    this.#finish()
  }

  #takeFrames(frames: readonly HttpBodyFrame[], isLast: boolean): void {
    let trailers: HttpHeaders | undefined
    for (const frame of frames) {
      if (frame.kind === "Data") this.#exchange?.body.data(frame.value)
      else trailers = frame.value
    }
    this.drained()
    if (!isLast || this.#bodyDone) return
    this.#bodyDone = true
    this.#exchange?.body.end(trailers)
    this.#finishWhenDone()
  }

  #finishWhenDone(): void {
    if (this.#answered && this.#bodyDone) this.#finish()
  }

  #finish(): void {
    if (this.#over) return
    this.#over = true
    this.drained()
    this.#options.onOver()
  }
}

/** Reads whichever message begins a request; undefined when it goes on with one that has begun. */
export function requestStart(message: ChunkedRequest): IncomingRequest | undefined {
  if (message.kind === "StartV1") {
    const { internalRequest, connectionId, requestId, port } = message.value
    const { body, ...request } = internalRequest
    return { connectionId, requestId, port, request, frames: body, isLast: false, ...unknownOrigin(port) }
  }
  if (message.kind !== "StartV2") return undefined
  const { connectionId, requestId, request: whole, metadata, transport } = message.value
  const { body, ...request } = whole
  const { source, destination } = metadata.value
  return {
    connectionId,
    requestId,
    port: destination.port,
    request,
    frames: body.frames,
    isLast: body.isLast,
    peer: { source, destination },
    transport,
  }
}

/** Older messages do not tell who called. */
export function unknownOrigin(port: number): Pick<IncomingRequest, "peer" | "transport"> {
  const source = { ip: "127.0.0.1", port: 0 }
  return { peer: { source, destination: { ip: "127.0.0.1", port } }, transport: { kind: "Tcp" } }
}
