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
import { type Place, reach } from "./reach.ts"

/** Headers HTTP/2 does not know, and those it has in another form. */
const notInHttp2 = new Set(["connection", "host", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"])

interface Http2ExchangeOptions {
  place: Place
  peer: IncomingPeer
  peers: Peers
  tls?: LocalTls
  request: ExchangeRequest
  events: ExchangeEvents
}

/** One request over HTTP/2 with prior knowledge (or by TLS): one session each, which keeps callers apart for the program. */
export class Http2Exchange implements Exchange {
  readonly #events: ExchangeEvents
  #session: ClientHttp2Session | undefined
  #stream: ClientHttp2Stream | undefined
  /** Parts of the body for a program that is not connected yet. */
  #early: (Uint8Array | "end")[] = []
  #mayTryAgain = true
  #over = false
  #headSeen = false
  #trailers: HttpHeaders | undefined
  #forget = () => {}

  constructor(options: Http2ExchangeOptions) {
    this.#events = options.events
    void this.#begin(options)
  }

  async #begin(options: Http2ExchangeOptions): Promise<void> {
    try {
      const socket = await reach(
        () => this.#open(options),
        () => !this.#over && this.#mayTryAgain,
      )
      if (!this.#over) return this.#ask(socket, options)
      this.#forget()
      socket.destroy()
    } catch (thrown) {
      this.#fail(errorText(thrown))
    }
  }

  #ask(socket: Socket, { request, tls }: Http2ExchangeOptions): void {
    const scheme = tls ? "https" : "http"
    const session = connect(`${scheme}://localhost`, { createConnection: () => socket })
    session.on("error", (error) => this.#fail(errorText(error)))
    const stream = session.request(requestHeaders(request, scheme), { endStream: false })
    stream.on("response", (headers) => {
      this.#headSeen = true
      this.#events.head({ status: headers[":status"] ?? 502, version: "HTTP/2.0", headers: toHeaders(headers) })
    })
    stream.on("data", (bytes: Uint8Array) => this.#events.body(bytes))
    stream.on("trailers", (headers) => {
      this.#trailers = toHeaders(headers)
    })
    stream.on("end", () => this.#finish())
    stream.on("drain", () => this.#events.drained())
    stream.on("error", (error) => this.#fail(errorText(error)))
    stream.on("close", () => this.#fail("the program closed the stream"))
    this.#session = session
    this.#stream = stream
    for (const part of this.#early.splice(0)) {
      if (part === "end") stream.end()
      else stream.write(part)
    }
    this.#events.drained()
  }

  /** Resolves once the program has accepted the connection; with TLS the handshake follows. */
  #open({ place, peer, peers, tls }: Http2ExchangeOptions): Promise<Socket> {
    const { ip, port } = place()
    const socket = tls ? connectTls({ ip, port }, tls) : connectTcp({ host: ip, port })
    const { promise, resolve, reject } = Promise.withResolvers<Socket>()
    peers.expect(
      promise.then(
        () => {},
        () => {},
      ),
    )
    socket.once("connect", () => {
      this.#forget = peers.add({ ip: socket.localAddress ?? "", port: socket.localPort ?? 0 }, peer)
      resolve(socket)
    })
    socket.once("error", reject)
    return promise
  }

  readonly body = {
    data: (bytes: Uint8Array) => this.#say(bytes),
    end: () => this.#say("end"),
  }

  #say(part: Uint8Array | "end"): void {
    if (this.#over) return
    if (!this.#stream) this.#early.push(part)
    else if (part === "end") this.#stream.end()
    else this.#stream.write(part)
  }

  get waitingBytes(): number {
    if (this.#stream) return this.#stream.writableLength
    return this.#early.reduce((sum, part) => sum + (part === "end" ? 0 : part.byteLength), 0)
  }

  /** There are no upgrades in HTTP/2. */
  tunnel(): void {}

  pause(): void {
    this.#stream?.pause()
  }

  resume(): void {
    this.#stream?.resume()
  }

  cancel(): void {
    if (this.#over) return
    this.#over = true
    this.#stream?.close(constants.NGHTTP2_CANCEL)
    this.#leave()
  }

  stopTrying(): void {
    this.#mayTryAgain = false
    if (!this.#stream) this.#fail("the program has ended")
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
    this.#session?.close()
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
