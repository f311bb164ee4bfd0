import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from "node:http2"
import { connect as connectTcp, type Socket } from "node:net"
import { connect as connectSecure, type TLSSocket } from "node:tls"
import { errorText } from "../../../errors.ts"
import type { Endpoint } from "../../../interceptor.ts"
import type { HttpHeaders } from "../../../protocol/index.ts"
import type { IncomingPeer } from "../../engine.ts"
import { certificateProblem, type LocalTls } from "../../local-tls.ts"
import type { Exchange, ExchangeEvents, ExchangeRequest } from "./exchange.ts"
import type { Peers } from "./peers.ts"

/** Headers HTTP/2 does not know, and those it has in another form. */
const notInHttp2 = new Set(["connection", "host", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"])

interface Http2ExchangeOptions {
  to: Endpoint
  peer: IncomingPeer
  peers: Peers
  tls?: LocalTls
  request: ExchangeRequest
  events: ExchangeEvents
}

/** One request over HTTP/2 with prior knowledge (or by TLS): one session each, which keeps callers apart for the program. */
export class Http2Exchange implements Exchange {
  readonly #session: ClientHttp2Session
  readonly #stream: ClientHttp2Stream
  readonly #events: ExchangeEvents
  #over = false
  #headSeen = false
  #trailers: HttpHeaders | undefined
  #forget = () => {}

  constructor(options: Http2ExchangeOptions) {
    this.#events = options.events
    const scheme = options.tls ? "https" : "http"
    const socket = this.#open(options)
    this.#session = connect(`${scheme}://localhost`, { createConnection: () => socket })
    this.#session.on("error", (error) => this.#fail(errorText(error)))
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

  #open({ to, peer, peers, tls }: Http2ExchangeOptions): Socket {
    const socket = tls ? connectTls(to, tls) : connectTcp({ host: to.ip, port: to.port })
    const accepted = Promise.withResolvers<void>()
    peers.expect(accepted.promise)
    socket.once("connect", () => {
      this.#forget = peers.add({ ip: socket.localAddress ?? "", port: socket.localPort ?? 0 }, peer)
      accepted.resolve()
    })
    socket.once("close", () => accepted.resolve())
    return socket
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

/** Nothing is sent before the handshake is over and the program's certificate will do. */
function connectTls({ ip, port }: Endpoint, tls: LocalTls): TLSSocket {
  const { serverName, ca, rejectUnauthorized } = tls.options
  const socket: TLSSocket = connectSecure({
    ...{ host: ip, port, servername: serverName, rejectUnauthorized, ALPNProtocols: ["h2"] },
    ...(ca ? { ca: ca as string[] } : {}),
  })
  socket.once("secureConnect", () => {
    const problem = certificateProblem(tls, () => socket.getPeerCertificate().raw)
    if (problem) socket.destroy(problem)
  })
  return socket
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
