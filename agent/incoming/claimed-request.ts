import type { HttpBodyFrame, HttpHeaders, HttpVersion } from "../../core/protocol/index.ts"
import type { ChannelStream, ClientChannel, ClientResponse } from "./client-channel.ts"
import type { ReadableRoute } from "./connection.ts"

/** A request on its way to a client, independent of the HTTP version it came by. */
export interface OutgoingRequest {
  method: string
  uri: string
  version: HttpVersion
  headers: HttpHeaders
}

/** The connection (or HTTP/2 stream) the request came by. */
export interface ClaimHost {
  /** An answer, or a part of it. */
  onResponse(response: ClientResponse): void
  /** Bytes of an upgraded connection; empty: the client sends no more. */
  onTunnelData(bytes: Uint8Array): void
  /** The client will not answer (any further). */
  onClientGone(): void
  /** The client reads slowly: send no more of the body until `onWritable`. */
  onFull(): void
  onWritable(): void
}

/** Old clients get a body in one piece; larger ones are not for them. */
export const maxWholeBodyBytes = 16 << 20

/** One request in the hands of one client: its messages, in the form the client's version knows. */
export class ClaimedRequest implements ChannelStream {
  readonly channel: ClientChannel
  readonly #host: ClaimHost
  readonly #connection: ReadableRoute
  readonly #request: OutgoingRequest
  readonly #id: bigint
  readonly #form: "v2" | "v1" | "framed" | "whole"
  /** For clients that want the body with the request. */
  #collected: HttpBodyFrame[] = []
  #collectedBytes = 0
  #full = false
  #over = false

  constructor(channel: ClientChannel, connection: ReadableRoute, request: OutgoingRequest, host: ClaimHost) {
    this.channel = channel
    this.#connection = connection
    this.#request = request
    this.#host = host
    this.#form = requestForm(channel)
    this.#id = channel.open(this)
  }

  /** Sends the head with what is there of the body. */
  start(frames: HttpBodyFrame[], isLast: boolean): void {
    const { source, destination, transport } = this.#connection
    const ids = { connectionId: this.#id, requestId: 0 }
    if (this.#form === "v2") {
      const request = { ...this.#request, body: { frames, isLast } }
      const metadata = { kind: "V1" as const, value: { source, destination } }
      const value = { ...ids, request, metadata, transport }
      this.#sent(this.channel.send({ kind: "HttpRequestChunked", value: { kind: "StartV2", value } }))
    } else if (this.#form === "v1") {
      const internalRequest = { ...this.#request, body: frames }
      const value = { ...ids, internalRequest, port: destination.port }
      this.#sent(this.channel.send({ kind: "HttpRequestChunked", value: { kind: "StartV1", value } }))
      if (isLast) this.#sendBody([], true)
    } else this.#collect(frames, isLast)
  }

  body(frames: HttpBodyFrame[], isLast: boolean): void {
    if (this.#over || (frames.length === 0 && !isLast)) return
    if (this.#form === "v2" || this.#form === "v1") this.#sendBody(frames, isLast)
    else this.#collect(frames, isLast)
  }

  /** Too much for a client that wants the body in one piece? */
  get tooLarge(): boolean {
    return this.#collectedBytes > maxWholeBodyBytes
  }

  tunnelData(bytes: Uint8Array): void {
    if (!this.#over) this.#sent(this.channel.sendData(this.#id, bytes))
  }

  tunnelEnd(): void {
    if (!this.#over) this.channel.sendEnd(this.#id)
  }

  /** Answered, or given up on this side. */
  close(): void {
    if (this.#over) return
    this.#over = true
    this.channel.sendClose(this.#id)
  }

  onClientData(bytes: Uint8Array): void {
    if (!this.#over) this.#host.onTunnelData(bytes)
  }

  onClientResponse(response: ClientResponse): void {
    if (!this.#over) this.#host.onResponse(response)
  }

  onClientGone(): void {
    if (this.#over) return
    this.#over = true
    this.channel.forget(this.#id)
    this.#host.onClientGone()
  }

  #sendBody(frames: HttpBodyFrame[], isLast: boolean): void {
    const value = { frames, isLast, connectionId: this.#id, requestId: 0 }
    this.#sent(this.channel.send({ kind: "HttpRequestChunked", value: { kind: "Body", value } }))
  }

  #sent(writable: boolean): void {
    if (writable || this.#full) return
    this.#full = true
    this.#host.onFull()
    void this.channel.client.whenWritable().then(() => {
      this.#full = false
      if (!this.#over) this.#host.onWritable()
    })
  }

  #collect(frames: HttpBodyFrame[], isLast: boolean): void {
    for (const frame of frames) if (frame.kind === "Data") this.#collectedBytes += frame.value.length
    if (this.tooLarge) return
    this.#collected.push(...frames)
    if (!isLast) return
    const rest = { connectionId: this.#id, requestId: 0, port: this.#connection.destination.port }
    if (this.#form === "framed") {
      const internalRequest = { ...this.#request, body: this.#collected }
      this.#sent(this.channel.send({ kind: "HttpRequestFramed", value: { internalRequest, ...rest } }))
    } else {
      const body = Buffer.concat(this.#collected.flatMap((frame) => (frame.kind === "Data" ? [frame.value] : [])))
      this.#sent(
        this.channel.send({ kind: "HttpRequest", value: { internalRequest: { ...this.#request, body }, ...rest } }),
      )
    }
  }
}

function requestForm({ client }: ClientChannel): "v2" | "v1" | "framed" | "whole" {
  if (client.supports("httpChunkedRequestV2")) return "v2"
  if (client.supports("httpChunkedRequest")) return "v1"
  return client.supports("httpFramed") ? "framed" : "whole"
}

/** Lower-case names with their values, as the protocol has them. */
export function headerMap(headers: readonly (readonly [name: string, value: string])[]): HttpHeaders {
  const map: HttpHeaders = new Map()
  for (const [name, value] of headers) {
    const key = name.toLowerCase()
    const values = map.get(key)
    if (values) values.push(value)
    else map.set(key, [value])
  }
  return map
}
