import type { HttpBodyFrame, HttpHeaders } from "../../../core/protocol/index.ts"
import { ClaimedRequest, type ClaimHost, headerMap } from "../claimed-request.ts"
import type { ClientChannel, ClientResponse } from "../client-channel.ts"
import type { IncomingConnection } from "../connection.ts"
import type { ResponseMarks } from "../http1/response-head.ts"
import type { Waiting } from "../outlet.ts"
import { outgoingRequest, type RequestFields, responseFields, trailerFields } from "./fields.ts"
import { errors } from "./frames.ts"
import type { HeaderField } from "./hpack.ts"

/** The connection a claimed stream belongs to. */
export interface StreamHost {
  readonly marks: ResponseMarks
  sendHeaders(stream: number, fields: readonly HeaderField[], endStream: boolean): void
  /** Sends as much as the windows allow; returns how much that was. `endStream` counts only when everything went. */
  sendData(stream: number, bytes: Uint8Array, streamWindow: number, endStream: boolean): number
  sendReset(stream: number, error: number): void
  /** The caller may send `bytes` more on this stream; stream 0: on the connection. */
  credit(stream: number, bytes: number): void
  /** No more will be sent on this stream, and nothing more is expected on it. */
  onOver(stream: number): void
}

/** One HTTP/2 stream that a client answers. */
export class ClaimedStream implements ClaimHost, Waiting {
  readonly #id: number
  readonly #host: StreamHost
  readonly #channel: ClientChannel
  readonly #request: ClaimedRequest
  readonly #method: string
  readonly #marks: ResponseMarks
  #window: number
  #queue: Uint8Array[] = []
  #trailers: HttpHeaders | undefined
  #ending = false
  #started = false
  #requestEnded = false
  #over = false
  /** Credit that waits until the client reads again, of the stream and of the connection. */
  #owedCredit = 0
  #owedToConnection = 0
  /** Credit the connection got although the client does not read. */
  #lentBytes = 0
  #clientFull = false
  queuedBytes = 0
  lastProgress = performance.now()

  /** `window`: what the caller lets the server send on a new stream. */
  constructor(
    id: number,
    channel: ClientChannel,
    connection: IncomingConnection,
    fields: RequestFields,
    window: number,
    host: StreamHost,
  ) {
    this.#id = id
    this.#host = host
    this.#channel = channel
    this.#window = window
    this.#method = fields.method
    this.#marks = { ...host.marks, setCookie: fields.setCookie }
    this.#request = new ClaimedRequest(channel, connection, outgoingRequest(fields), this)
  }

  get answered(): boolean {
    return this.#started
  }

  // ---- from the caller

  start(frames: HttpBodyFrame[], isLast: boolean): void {
    this.#requestEnded = isLast
    this.#request.start(frames, isLast)
  }

  /** `flowBytes`: what the frame took of the windows, padding included; `isLent`: the connection has its part already. */
  onData(content: Uint8Array, flowBytes: number, isLast: boolean, isLent = false): void {
    if (isLast) this.#requestEnded = true
    if (content.length > 0 || isLast) {
      this.#request.body(content.length > 0 ? [{ kind: "Data", value: content }] : [], isLast)
    }
    this.#owedCredit += flowBytes
    // The connection is shared: requests of others, and the application's, must not wait for this client.
    if (!isLent && this.#clientFull && this.#channel.lending.take(flowBytes)) {
      this.#lentBytes += flowBytes
      this.#host.credit(0, flowBytes)
    } else if (!isLent) this.#owedToConnection += flowBytes
    if (!this.#clientFull) this.#payCredit()
    if (this.#request.tooLarge) this.#giveUp(413, "the request's body is too large for the version of the client")
  }

  onTrailers(fields: readonly HeaderField[]): void {
    this.#requestEnded = true
    this.#request.body([{ kind: "Trailers", value: headerMap(fields.filter(([name]) => !name.startsWith(":"))) }], true)
  }

  onWindow(bytes: number): void {
    this.#window += bytes
    this.pump()
  }

  /** The caller took the request back, or is gone. */
  cancel(): void {
    if (this.#over) return
    this.#dispose()
    this.#request.close()
  }

  // ---- from the client

  onResponse(message: ClientResponse): void {
    if (this.#over) return
    if (message.kind === "HttpResponseChunked") {
      const part = message.value
      if (part.kind === "Error") this.onClientGone()
      else if (part.kind === "Body") this.#body(part.value.frames, part.value.isLast)
      else {
        const { status, headers, body } = part.value.internalResponse
        this.#begin(status, headers, body, false)
      }
    } else if (message.kind === "HttpResponseFramed") {
      const { status, headers, body } = message.value.internalResponse
      this.#begin(status, headers, body, true)
    } else {
      const { status, headers, body } = message.value.internalResponse
      this.#begin(status, headers, body.length > 0 ? [{ kind: "Data", value: body }] : [], true)
    }
  }

  onTunnelData(): void {}

  onClientGone(): void {
    this.#giveUp(502, "the client that was to answer this request is gone")
  }

  onFull(): void {
    this.#clientFull = true
  }

  onWritable(): void {
    this.#clientFull = false
    this.#payCredit()
  }

  // ---- the answer

  #begin(status: number, headers: HttpHeaders, frames: HttpBodyFrame[], isLast: boolean): void {
    if (this.#started || status < 200) {
      this.#giveUp(502, "the client's answer cannot be used")
      return
    }
    this.#started = true
    const bodiless = this.#method === "HEAD" || status === 204 || status === 304
    const empty = isLast && (bodiless || frames.every((frame) => frame.kind === "Data" && frame.value.length === 0))
    this.#host.sendHeaders(this.#id, responseFields(status, headers, this.#marks), empty)
    if (empty) this.#finish()
    else this.#body(bodiless ? [] : frames, isLast)
  }

  #body(frames: HttpBodyFrame[], isLast: boolean): void {
    if (!this.#started) {
      this.#giveUp(502, "the client's answer cannot be used")
      return
    }
    for (const frame of frames) {
      if (frame.kind === "Trailers") this.#trailers = frame.value
      else if (frame.value.length > 0) {
        this.#queue.push(frame.value)
        this.queuedBytes += frame.value.length
        this.#channel.budget.changed(frame.value.length, this)
      }
    }
    this.#ending ||= isLast
    this.pump()
  }

  /** Sends what the windows allow. */
  pump(): void {
    while (!this.#over && this.#queue.length > 0) {
      const bytes = this.#queue[0]!
      const last = this.#ending && this.#queue.length === 1 && !this.#trailers
      const sent = this.#host.sendData(this.#id, bytes, this.#window, last)
      this.#window -= sent
      if (sent > 0) this.#took(sent)
      if (sent < bytes.length) {
        this.#queue[0] = bytes.subarray(sent)
        return
      }
      this.#queue.shift()
      if (last) {
        this.#finish()
        return
      }
    }
    if (this.#over || !this.#ending) return
    if (this.#trailers) this.#host.sendHeaders(this.#id, trailerFields(this.#trailers), true)
    else this.#host.sendData(this.#id, new Uint8Array(), this.#window, true)
    this.#finish()
  }

  reset(): void {
    if (this.#over) return
    this.#host.sendReset(this.#id, errors.cancel)
    this.cancel()
  }

  #took(bytes: number): void {
    this.lastProgress = performance.now()
    this.queuedBytes -= bytes
    this.#channel.budget.changed(-bytes, this)
  }

  #finish(): void {
    // Without an error: the answer is complete, the rest of the request is not wanted (RFC 9113, section 8.1).
    if (!this.#requestEnded) this.#host.sendReset(this.#id, 0)
    this.cancel()
  }

  #giveUp(status: number, reason: string): void {
    if (this.#over) return
    if (this.#started) {
      this.#host.sendReset(this.#id, errors.internal)
      this.cancel()
      return
    }
    this.#started = true
    this.#ending = true
    this.#queue = [Buffer.from(`podside agent: ${reason}\n`)]
    this.queuedBytes = this.#queue[0]!.length
    this.#channel.budget.changed(this.queuedBytes, this)
    this.#host.sendHeaders(
      this.#id,
      [
        [":status", String(status)],
        ["content-type", "text/plain; charset=utf-8"],
      ],
      false,
    )
    this.pump()
  }

  #payCredit(): void {
    if (!this.#over) {
      this.#host.credit(0, this.#owedToConnection)
      this.#host.credit(this.#id, this.#owedCredit)
    }
    this.#channel.lending.giveBack(this.#lentBytes)
    this.#owedCredit = this.#owedToConnection = this.#lentBytes = 0
  }

  #dispose(): void {
    // Credit of the connection is owed whatever became of the stream.
    this.#clientFull = false
    this.#payCredit()
    this.#over = true
    this.#queue = []
    if (this.queuedBytes > 0) this.#took(this.queuedBytes)
    this.#host.onOver(this.#id)
  }
}
