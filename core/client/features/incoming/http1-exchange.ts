import { errorText } from "../../../errors.ts"
import type { HttpHeaders } from "../../../protocol/index.ts"
import type { IncomingPeer } from "../../engine.ts"
import type { LocalStream } from "../../local-stream.ts"
import type { LocalTls } from "../../local-tls.ts"
import type { Exchange, ExchangeEvents, ExchangeRequest } from "./exchange.ts"
import type { Http1Pool, PooledConnection } from "./http1-pool.ts"
import { type BodyFraming, encodeBody, encodeBodyEnd, encodeRequestHead } from "./http1-request.ts"
import { ResponseReader } from "./http1-response.ts"
import { type Place, retryPausesMs } from "./reach.ts"

/** A request whose body is larger than this is sent once only: to send it again it would have to be kept. */
const maxKeptBytes = 1 << 20

/** One request over HTTP/1: tried again while nothing was answered and everything can be said again. */
export class Http1Exchange implements Exchange {
  readonly #pool: Http1Pool
  readonly #place: Place
  readonly #peer: IncomingPeer
  readonly #tls: LocalTls | undefined
  readonly #request: ExchangeRequest
  readonly #events: ExchangeEvents
  readonly #framing: BodyFraming
  /** Everything to be sent, from the start; undefined once it became too large to be sent again. */
  #sent: Uint8Array[] | undefined
  #sentBytes = 0
  #connection: PooledConnection | undefined
  #reader: ResponseReader | undefined
  #attempt = 0
  #mayTryAgain = true
  #nextTry: ReturnType<typeof setTimeout> | undefined
  #requestDone = false
  #over = false
  #upgraded = false
  #endAfterUpgrade = false

  constructor(options: {
    pool: Http1Pool
    place: Place
    peer: IncomingPeer
    tls?: LocalTls
    request: ExchangeRequest
    events: ExchangeEvents
  }) {
    this.#pool = options.pool
    this.#place = options.place
    this.#peer = options.peer
    this.#tls = options.tls
    this.#request = options.request
    this.#events = options.events
    const { bytes, framing } = encodeRequestHead(options.request, options.request.hasBody)
    this.#framing = framing
    this.#sent = [bytes]
    this.#sentBytes = bytes.byteLength
    void this.#try()
  }

  get #stream(): LocalStream | undefined {
    return this.#connection?.stream
  }

  readonly body = {
    data: (bytes: Uint8Array) => this.#say(encodeBody(this.#framing, bytes)),
    end: (trailers?: HttpHeaders) => {
      this.#requestDone = true
      this.#say(encodeBodyEnd(this.#framing, trailers))
    },
  }

  get waitingBytes(): number {
    if (this.#over) return 0
    return this.#stream ? this.#stream.queuedBytes : this.#sentBytes
  }

  tunnel(bytes: Uint8Array): void {
    if (bytes.byteLength === 0) this.#endAfterUpgrade = true
    if (!this.#upgraded) {
      if (bytes.byteLength > 0) this.#say([bytes])
      return
    }
    if (bytes.byteLength === 0) this.#stream?.end()
    else this.#stream?.write(bytes)
  }

  pause(): void {
    this.#stream?.pause()
  }

  resume(): void {
    this.#stream?.resume()
  }

  cancel(): void {
    if (this.#over) return
    this.#over = true
    this.#connection?.cut()
  }

  stopTrying(): void {
    this.#mayTryAgain = false
    if (this.#nextTry) this.#lost("the program has ended")
  }

  #say(parts: Uint8Array[]): void {
    if (this.#over) return
    for (const part of parts) {
      this.#sentBytes += part.byteLength
      if (this.#sentBytes > maxKeptBytes && this.#stream) this.#sent = undefined
      this.#sent?.push(part)
      this.#stream?.write(part)
    }
  }

  async #try(): Promise<void> {
    try {
      const connection = await this.#pool.take(this.#place(), this.#peer, this.#tls)
      if (this.#over) {
        connection.drop()
        return
      }
      const { stream } = connection
      this.#connection = connection
      this.#reader = this.#newReader()
      stream.handlers = {
        data: (bytes) => this.#feed(() => this.#reader!.push(bytes)),
        drain: () => this.#events.drained(),
        end: () => this.#programEnded(),
        closed: (error) => this.#lost(error?.message ?? "the program closed the connection"),
      }
      // One write for what is known already: small requests go out in one packet.
      stream.write(Buffer.concat(this.#sent ?? []))
      if (this.#sentBytes > maxKeptBytes) this.#sent = undefined
      if (!connection.used) stream.resume()
      this.#events.drained()
    } catch (thrown) {
      this.#lost(errorText(thrown))
    }
  }

  #newReader(): ResponseReader {
    return new ResponseReader(this.#request.method, {
      head: (head) => {
        this.#sent = undefined
        this.#events.head(head)
        if (head.status !== 101) return
        this.#upgraded = true
        if (this.#endAfterUpgrade) this.#stream?.end()
      },
      body: (bytes) => this.#events.body(bytes),
      tunnel: (bytes) => this.#events.tunnel(bytes),
      done: (trailers, reusable) => {
        this.#over = true
        const connection = this.#connection!
        // Others may use it in a moment: nothing that is said here later is for it.
        this.#connection = undefined
        if (reusable && this.#requestDone) this.#pool.giveBack(connection)
        else connection.drop()
        this.#events.done(trailers)
      },
    })
  }

  #programEnded(): void {
    if (this.#upgraded) this.#events.tunnel(new Uint8Array(0))
    else this.#feed(() => this.#reader!.end())
  }

  #feed(step: () => void): void {
    if (this.#over) return
    try {
      step()
    } catch (thrown) {
      this.#lost(errorText(thrown))
    }
  }

  #lost(reason: string): void {
    if (this.#over) return
    const connection = this.#connection
    this.#connection = undefined
    if (connection) {
      connection.stream.handlers = { data() {}, drain() {}, end() {}, closed() {} }
      connection.drop()
    }
    const pause = connection?.used ? 0 : retryPausesMs[this.#attempt++]
    if (this.#reader?.begun || !this.#sent || !this.#mayTryAgain || pause === undefined) {
      this.#over = true
      this.#events.failed(reason)
      return
    }
    this.#nextTry = setTimeout(() => {
      this.#nextTry = undefined
      if (!this.#over) void this.#try()
    }, pause)
  }
}
