import type { HttpBodyFrame } from "../../../core/protocol/index.ts"
import { ClaimedRequest, headerMap } from "../claimed-request.ts"
import type { ClientChannel, ClientResponse } from "../client-channel.ts"
import type { IncomingConnection } from "../connection.ts"
import type { Outlet } from "../outlet.ts"
import { BodyReader } from "./body-reader.ts"
import type { RequestHead } from "./request-head.ts"
import { agentAnswer, type ResponseMarks } from "./response-head.ts"
import { ResponseWriter } from "./response-writer.ts"

/** What the connection must know about a request one client answers. */
export interface ClaimEvents {
  /** Answered and read to its end; `reusable`: another request may follow. */
  onFinished(reusable: boolean): void
  /** From now on the caller's bytes go to `tunnel`. */
  onUpgraded(): void
  /** Stop reading from the caller, or go on. */
  onFull(): void
  onWritable(): void
}

const proceed = Buffer.from("HTTP/1.1 100 Continue\r\n\r\n")
/** What may come of an upgraded connection before its 101; the two overtake each other by a moment. */
const maxEarlyBytes = 1 << 20

/** One HTTP/1 request that a client answers: the caller's body one way, the answer the other, maybe an upgrade after that. */
export class Claim {
  readonly #request: ClaimedRequest
  readonly #reader: BodyReader
  readonly #writer: ResponseWriter
  readonly #outlet: Outlet
  readonly #events: ClaimEvents
  #frames: HttpBodyFrame[] = []
  #tunnel = false
  #tunnelEnded = false
  #answered = false
  #over = false
  /** Data of an upgraded connection may come before the 101 it belongs to. */
  #early: Uint8Array[] = []
  #earlyBytes = 0

  constructor(
    channel: ClientChannel,
    connection: IncomingConnection,
    head: RequestHead,
    outlet: Outlet,
    marks: ResponseMarks,
    events: ClaimEvents,
  ) {
    this.#outlet = outlet
    this.#events = events
    this.#reader = new BodyReader(head.body)
    this.#reader.sink = (content) => this.#frames.push({ kind: "Data", value: content })
    outlet.chargeTo(channel.budget)
    this.#writer = new ResponseWriter(head, marks, (pieces) => void outlet.writeAll(pieces))
    const { method, target, version, headers } = head
    const request = { method, uri: target, version, headers: headerMap(headers) }
    this.#request = new ClaimedRequest(channel, connection, request, {
      onResponse: (response) => this.#onResponse(response),
      onTunnelData: (bytes) => this.#onTunnelData(bytes),
      onClientGone: () => this.#onClientGone(),
      onFull: () => events.onFull(),
      onWritable: () => events.onWritable(),
    })
  }

  /** The body is read: what follows is another request. */
  get bodyDone(): boolean {
    return this.#reader.done
  }

  /** Sends the request with as much of its body as `bytes` hold from `start`; returns the offset behind that. */
  begin(bytes: Buffer, start: number, expectContinue: boolean): number {
    const end = this.#reader.feed(bytes, start)
    if (expectContinue && !this.#reader.done) this.#outlet.write(proceed)
    if (this.#reader.broken) this.#refuse(400, "the request's body cannot be read")
    else this.#request.start(this.#takeFrames(), this.#reader.done)
    return end
  }

  feed(bytes: Buffer, start: number): number {
    const end = this.#reader.feed(bytes, start)
    const frames = this.#takeFrames()
    if (this.#reader.broken) this.#refuse(400, "the request's body cannot be read")
    else if (!this.#answered) this.#request.body(frames, this.#reader.done)
    if (this.#request.tooLarge) this.#refuse(413, "the request's body is too large for the version of the client")
    if (this.#answered && this.#reader.done) this.#finish()
    return end
  }

  /** If the answer has not begun, it says that no other will follow. */
  answerAsLast(): void {
    this.#writer.keepAlive = false
  }

  tunnel(bytes: Uint8Array): void {
    this.#request.tunnelData(bytes)
  }

  /** The caller sends no more. */
  callerEnded(): void {
    if (this.#tunnel) this.#endTunnel()
    else if (!this.#reader.done) this.#abandon()
    else this.#writer.keepAlive = false
  }

  /** `inOrder`: the caller has ended, and did so after the client. */
  callerGone(inOrder: boolean): void {
    if (this.#tunnel && inOrder) this.#endTunnel()
    this.#over = true
    this.#request.close()
  }

  #takeFrames(): HttpBodyFrame[] {
    const frames = this.#frames
    this.#frames = []
    if (this.#reader.done && this.#reader.trailers.length > 0) {
      frames.push({ kind: "Trailers", value: headerMap(this.#reader.trailers) })
    }
    return frames
  }

  #onResponse(response: ClientResponse): void {
    if (this.#answered || this.#over) return
    const progress = this.#writer.take(response)
    if (progress === "failed") this.#abandon()
    else if (progress === "upgraded") this.#upgrade()
    else if (progress === "done") {
      this.#answered = true
      if (this.#reader.done) this.#finish()
    }
  }

  #finish(): void {
    if (this.#over) return
    this.#over = true
    this.#request.close()
    this.#outlet.chargeTo(undefined)
    this.#events.onFinished(this.#writer.keepAlive)
  }

  #upgrade(): void {
    this.#tunnel = true
    this.#events.onUpgraded()
    for (const bytes of this.#early) this.#onTunnelData(bytes)
    this.#early = []
  }

  #endTunnel(): void {
    if (this.#tunnelEnded) return
    this.#tunnelEnded = true
    this.#request.tunnelEnd()
  }

  #onTunnelData(bytes: Uint8Array): void {
    if (!this.#tunnel) this.#keepEarly(bytes)
    else if (bytes.length === 0) this.#outlet.end()
    else this.#outlet.write(bytes)
  }

  #keepEarly(bytes: Uint8Array): void {
    this.#earlyBytes += bytes.length
    if (this.#earlyBytes > maxEarlyBytes) this.#abandon("the client sent data of a connection it has not upgraded")
    else this.#early.push(bytes)
  }

  #onClientGone(): void {
    if (this.#tunnel) {
      this.#outlet.finish()
      this.#events.onWritable()
    } else if (!this.#answered) this.#abandon("the client that was to answer this request is gone")
  }

  #refuse(status: number, reason: string): void {
    if (this.#over) return
    this.#over = true
    if (!this.#writer.started) this.#outlet.write(agentAnswer(status, reason))
    this.#request.close()
    this.#events.onFinished(false)
  }

  /** An answer that cannot be completed is cut off, so that the caller does not take it for a whole one. */
  #abandon(reason = "the client's answer cannot be used"): void {
    if (this.#over) return
    if (!this.#writer.started) {
      this.#refuse(502, reason)
      return
    }
    this.#over = true
    this.#request.close()
    this.#outlet.reset()
  }
}
