import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from "node:http2"
import type { TLSOptions } from "bun"
import { errorText } from "../../../errors.ts"
import type { Endpoint } from "../../../interceptor.ts"
import type { HttpHeaders } from "../../../protocol/index.ts"
import type { IncomingPeer } from "../../engine.ts"
import type { Exchange, ExchangeEvents, ExchangeRequest } from "./exchange.ts"
import type { Peers } from "./peers.ts"

/** Headers HTTP/2 does not know, and those it has in another form. */
const notInHttp2 = new Set(["connection", "host", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"])

/** One request over HTTP/2 with prior knowledge (or by TLS): one session each, which keeps callers apart for the program. */
export class Http2Exchange implements Exchange {
  readonly #session: ClientHttp2Session
  readonly #stream: ClientHttp2Stream
  readonly #events: ExchangeEvents
  #over = false
  #headSeen = false
  #trailers: HttpHeaders | undefined
  #forget = () => {}

  constructor(options: {
    to: Endpoint
    peer: IncomingPeer
    peers: Peers
    tls?: TLSOptions
    request: ExchangeRequest
    events: ExchangeEvents
  }) {
    this.#events = options.events
    const host = options.to.ip.includes(":") ? `[${options.to.ip}]` : options.to.ip
    const scheme = options.tls ? "https" : "http"
    this.#session = connect(`${scheme}://${host}:${options.to.port}`, {
      ...(options.tls ? { ...options.tls, servername: options.tls.serverName } : {}),
    } as Parameters<typeof connect>[1])
    this.#session.on("error", (error) => this.#fail(errorText(error)))
    this.#session.on("connect", (_, socket) => {
      this.#forget = options.peers.add({ ip: socket.localAddress ?? "", port: socket.localPort ?? 0 }, options.peer)
    })
    this.#stream = this.#session.request(requestHeaders(options.request, scheme), { endStream: false })
    this.#stream.on("response", (headers) => {
      this.#headSeen = true
      this.#events.head({ status: headers[":status"] ?? 502, version: "HTTP/2.0", headers: toHeaders(headers) })
    })
    this.#stream.on("data", (bytes: Uint8Array) => this.#events.body(bytes))
    this.#stream.on("trailers", (headers) => {
      this.#trailers = toHeaders(headers)
    })
    this.#stream.on("end", () => this.#finish())
    this.#stream.on("error", (error) => this.#fail(errorText(error)))
    this.#stream.on("close", () => this.#fail("the program closed the stream"))
  }

  readonly body = {
    data: (bytes: Uint8Array) => {
      if (!this.#over) this.#stream.write(bytes)
    },
    end: () => {
      if (!this.#over) this.#stream.end()
    },
  }

  /** There are no upgrades in HTTP/2. */
  tunnel(): void {}

  pause(): void {
    this.#stream.pause()
  }

  resume(): void {
    this.#stream.resume()
  }

  cancel(): void {
    if (this.#over) return
    this.#over = true
    this.#stream.close(constants.NGHTTP2_CANCEL)
    this.#leave()
  }

  #finish(): void {
    if (this.#over) return
    if (!this.#headSeen) {
      this.#fail("the program sent no answer")
      return
    }
    this.#over = true
    this.#events.done(this.#trailers)
    this.#leave()
  }

  #fail(reason: string): void {
    if (this.#over) return
    this.#over = true
    this.#events.failed(reason)
    this.#leave()
  }

  #leave(): void {
    this.#forget()
    this.#session.close()
  }
}

function requestHeaders({ method, uri, headers }: ExchangeRequest, scheme: string): Record<string, string | string[]> {
  const [, , authority = headers.get("host")?.[0] ?? "", path = uri] = /^(\w+):\/\/([^/?]*)(.*)$/.exec(uri) ?? []
  const out: Record<string, string | string[]> = {
    ":method": method,
    ":scheme": scheme,
    ":authority": authority,
    ":path": path === "" ? "/" : path,
  }
  for (const [name, values] of headers) if (!notInHttp2.has(name)) out[name] = values.length === 1 ? values[0]! : values
  return out
}

function toHeaders(from: Record<string, unknown>): HttpHeaders {
  const headers: HttpHeaders = new Map()
  for (const [name, value] of Object.entries(from)) {
    if (!name.startsWith(":") && value !== undefined)
      headers.set(name, Array.isArray(value) ? value.map(String) : [String(value)])
  }
  return headers
}
