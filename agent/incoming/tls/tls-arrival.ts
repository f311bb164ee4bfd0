import type { TLSOptions } from "bun"
import { errorText } from "../../../core/errors.ts"
import type { Diversion, DivertedConnection, TcpEvents, TcpSocket } from "../../../core/interceptor.ts"
import type { Logger } from "../../../core/log.ts"
import type { TrafficTransport } from "../../../core/protocol/index.ts"
import { type IncomingConnection, plainTransport, type Service } from "../connection.ts"
import { passThrough } from "../pass-through.ts"
import type { Port } from "../port.ts"
import { ApplicationTls } from "./application-tls.ts"
import { type ClientHello, readClientHello } from "./client-hello.ts"
import type { TlsPort } from "./tls-ports.ts"
import { alpnWire, type TlsSetup } from "./tls-setup.ts"
import { handshakeMilliseconds, wrapInTls } from "./tls-socket.ts"

export interface ArrivalOptions {
  port: Port
  tls: TlsPort
  diversion: Diversion
  /** How long a caller may say nothing before it is taken for one without TLS. */
  detectionMilliseconds: number
  log: Logger
  /** Says who takes care of a connection that can be read. */
  route(connection: IncomingConnection, way: Pick<Diversion, "connectToApplication">): Service
  /** From now on the connection is served through `secured`; returns what hears its events. */
  moveTo(secured: TcpSocket, service: Service): TcpEvents
}

/**
 * The first moments of a connection to a port whose TLS the agent ends: what the caller wants is read, the application is
 * reached over TLS, then the caller is answered. Whatever stands in the way of that makes it the application's connection,
 * byte for byte: a wrong setting must not cost the target its callers.
 */
export class TlsArrival implements Service {
  readonly #connection: DivertedConnection
  readonly #options: ArrivalOptions
  #hello: Buffer = Buffer.alloc(0)
  #state: "hello" | "application" | "over" = "hello"
  #timer: ReturnType<typeof setTimeout>
  #ended = false
  /** Serves the connection when its TLS is not ended here. */
  #plain: Service | undefined

  constructor(connection: DivertedConnection, options: ArrivalOptions) {
    this.#connection = connection
    this.#options = options
    this.#timer = setTimeout(() => this.#pass(), options.detectionMilliseconds)
  }

  onData(bytes: Buffer): void {
    if (this.#plain) {
      this.#plain.onData(bytes)
      return
    }
    this.#hello = this.#hello.length === 0 ? bytes : Buffer.concat([this.#hello, bytes])
    if (this.#state !== "hello") return
    const hello = readClientHello(this.#hello)
    if (hello === "incomplete") return
    clearTimeout(this.#timer)
    if (hello === "other") this.#serveWithoutTls()
    else void this.#prepare(hello)
  }

  onDrain(): void {
    this.#plain?.onDrain()
  }

  onEnd(): void {
    this.#ended = true
    if (this.#plain) this.#plain.onEnd()
    else if (this.#state === "hello") this.#pass()
  }

  finish(): void {
    this.#plain?.finish?.()
  }

  onClose(error?: Error): void {
    this.#state = "over"
    clearTimeout(this.#timer)
    this.#plain?.onClose(error)
  }

  /** Plain bytes on a port meant for TLS: as on any other port. */
  #serveWithoutTls(): void {
    this.#handOver((connection) =>
      this.#options.route({ ...connection, transport: plainTransport }, this.#options.diversion),
    )
  }

  /** The application's connection from its first byte on. */
  #pass(): void {
    this.#handOver((connection) => passThrough(this.#options.diversion, connection))
  }

  #handOver(serve: (connection: DivertedConnection) => Service): void {
    clearTimeout(this.#timer)
    if (this.#state === "over") return
    this.#state = "over"
    const read = this.#hello
    this.#hello = Buffer.alloc(0)
    this.#plain = serve(this.#connection)
    if (read.length > 0) this.#plain.onData(read)
    if (this.#ended) this.#plain.onEnd()
  }

  async #prepare(hello: ClientHello): Promise<void> {
    const { port, tls, diversion } = this.#options
    this.#state = "application"
    const setup = tls.setup()
    if (setup instanceof Error) {
      tls.tell(port, setup.message)
      return this.#pass()
    }
    const wanted = setup.alpnProtocols.find((name) => hello.alpnProtocols.includes(name))
    // Caller and configuration have nothing in common; the application may know what the caller wants.
    if (!wanted && setup.alpnProtocols.length > 0 && hello.alpnProtocols.length > 0) return this.#pass()
    const { destination, socket } = this.#connection
    const clientTls = { ...setup.client, serverName: hello.serverName ?? destination.ip, ...withAlpn(wanted) }
    const way = new ApplicationTls(diversion, clientTls, () =>
      tls.distrust(port, "the application hangs up on the agent's TLS connections; see agentAsClient.authentication"),
    )
    // Who steals the whole port answers for the application.
    if (port.owner) return this.#accept(setup, hello, wanted, way)
    socket.pause()
    const readiness = await way.prepare(this.#connection)
    if (this.#state !== "application") return way.dispose()
    if (readiness.kind === "failed") {
      tls.tell(port, `the agent's own TLS connection to the application failed: ${readiness.reason}`)
      this.#options.log.warn("no TLS connection to the application", { port: port.number, reason: readiness.reason })
      this.#pass()
      socket.resume()
      return
    }
    this.#accept(setup, hello, readiness.kind === "ready" ? readiness.alpnProtocol : wanted, way)
  }

  #accept(setup: TlsSetup, hello: ClientHello, alpnProtocol: string | undefined, way: ApplicationTls): void {
    const served = new Served(way)
    let secured: TcpSocket
    try {
      secured = wrapInTls(this.#connection.socket, {
        tls: { ...setup.server, ...withAlpn(alpnProtocol) },
        asServer: { read: this.#hello },
        events: served,
        onHandshake: (socket, error) => {
          clearTimeout(this.#timer)
          const refusal = error ? errorText(error) : refusalOf(socket, setup)
          if (!refusal) served.by = this.#route(socket, hello, way)
          else {
            this.#options.log.info("a caller's TLS handshake failed", {
              port: this.#options.port.number,
              reason: refusal,
            })
            socket.terminate()
          }
        },
      })
    } catch (thrown) {
      way.dispose()
      this.#options.tls.tell(this.#options.port, errorText(thrown))
      this.#pass()
      this.#connection.socket.resume()
      return
    }
    this.#state = "over"
    this.#hello = Buffer.alloc(0)
    this.#timer = setTimeout(() => secured.terminate(), handshakeMilliseconds)
    secured.data = this.#options.moveTo(secured, served)
    secured.resume()
  }

  #route(socket: TcpSocket, { serverName }: ClientHello, way: ApplicationTls): Service {
    const { source, destination } = this.#connection
    const agreed = socket.alpnProtocol
    const transport: TrafficTransport = {
      kind: "Tls",
      value: { alpnProtocol: agreed ? Buffer.from(agreed, "latin1") : null, serverName: serverName ?? null },
    }
    return this.#options.route({ socket, source, destination, transport }, way)
  }
}

/** A connection whose handshake is not over, and then whoever serves it. */
class Served implements Service {
  by: Service | undefined
  readonly #way: ApplicationTls

  constructor(way: ApplicationTls) {
    this.#way = way
  }

  onData(bytes: Buffer): void {
    this.by?.onData(bytes)
  }

  onDrain(): void {
    this.by?.onDrain()
  }

  onEnd(): void {
    this.by?.onEnd()
  }

  finish(): void {
    this.by?.finish?.()
  }

  onClose(error?: Error): void {
    this.by?.onClose(error)
    this.#way.dispose()
  }
}

const withAlpn = (name: string | undefined): TLSOptions => (name ? { ALPNProtocols: alpnWire([name]) } : {})

/** Why the caller may not go on although its handshake is good; undefined: it may. */
function refusalOf(socket: TcpSocket, { callers, trustsNobody }: TlsSetup): string | undefined {
  if (callers === "none" || callers === "any-or-none") return undefined
  const { authorized } = socket as unknown as { authorized: boolean }
  const hasCertificate = socket.getPeerCertificate()?.subject !== undefined
  if (!hasCertificate) return callers.endsWith("or-none") ? undefined : "the caller has shown no certificate"
  if (callers === "any" || (authorized && !trustsNobody)) return undefined
  return "the caller's certificate is not trusted"
}
