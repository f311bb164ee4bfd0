import { checkServerIdentity, type PeerCertificate } from "node:tls"
import type { Socket, SocketHandler, TLSOptions } from "bun"
import type { ServerAccess } from "./access.ts"

/** A connected byte stream; writing keeps what the socket does not take at once. */
export interface RawSocket {
  handlers: { data(chunk: Uint8Array): void; drain(): void; closed(error?: Error): void }
  write(data: Uint8Array): void
  /** As `write`, for bytes that will be changed afterwards. */
  writeCopy(data: Uint8Array): void
  readonly queuedBytes: number
  pause(): void
  resume(): void
  /** Flushes, then ends. */
  end(): void
  /** Ends now and drops what is queued. */
  abort(): void
}

/** Connects to the API server, through its proxy when there is one, with TLS when its address asks for it. */
export async function dialServer(access: ServerAccess, signal: AbortSignal): Promise<RawSocket> {
  const server = new URL(access.url)
  const port = Number(server.port || (server.protocol === "https:" ? 443 : 80))
  const host = server.hostname.replace(/^\[|\]$/g, "")
  const proxy = access.proxy ? new URL(access.proxy) : undefined
  const tls = access.tls && tlsOptions(access.tls, host)
  if (!proxy) return dial(host, port, access.tls, tls, signal)
  const proxyPort = Number(proxy.port || (proxy.protocol === "https:" ? 443 : 80))
  const socket = await dial(proxy.hostname, proxyPort, undefined, proxy.protocol === "https:" ? {} : undefined, signal)
  await openTunnel(socket, `${server.hostname}:${port}`, proxy, signal)
  return tls ? socket.startTls(access.tls!, tls, host) : socket
}

function tlsOptions(tls: NonNullable<ServerAccess["tls"]>, host: string): TLSOptions {
  const { ca, cert, key, passphrase } = tls
  const isName = /[a-z]/i.test(host) && !host.includes(":")
  const serverName = tls.serverName ?? (isName ? host : undefined)
  // Checked in `handshake`, where the reason can be told; the runtime would only cut the connection.
  return { ca, cert, key, passphrase, rejectUnauthorized: false, ...(serverName ? { serverName } : {}) }
}

function dial(
  hostname: string,
  port: number,
  access: ServerAccess["tls"],
  tls: TLSOptions | undefined,
  signal: AbortSignal,
): Promise<QueueingSocket> {
  const socket = new QueueingSocket()
  const opened = socket.ready(access, hostname, tls !== undefined)
  const abort = () => socket.fail(signal.reason)
  signal.addEventListener("abort", abort, { once: true })
  Bun.connect({ hostname, port, tls, socket: socket.callbacks, allowHalfOpen: false }).catch((error) =>
    socket.fail(error),
  )
  return opened.finally(() => signal.removeEventListener("abort", abort))
}

/** Asks an HTTP proxy for a way to `authority`. */
async function openTunnel(socket: QueueingSocket, authority: string, proxy: URL, signal: AbortSignal): Promise<void> {
  const login = `${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`
  const credentials = proxy.username ? `Proxy-Authorization: Basic ${btoa(login)}\r\n` : ""
  const abort = () => socket.fail(signal.reason)
  signal.addEventListener("abort", abort, { once: true })
  const answered = new Promise<void>((resolve, reject) => {
    let head = ""
    socket.handlers = {
      data(chunk) {
        head += Buffer.from(chunk).toString("latin1")
        if (!head.includes("\r\n\r\n") && head.length < 16_384) return
        if (/^HTTP\/1\.[01] 2\d\d/.test(head)) resolve()
        else reject(new Error(`the proxy ${proxy.host} answered "${head.split("\r\n")[0]}"`))
      },
      drain() {},
      closed: (error) => reject(error ?? new Error(`the proxy ${proxy.host} closed the connection`)),
    }
    socket.write(Buffer.from(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n${credentials}\r\n`))
  })
  try {
    await answered
  } catch (thrown) {
    socket.abort()
    throw thrown
  } finally {
    signal.removeEventListener("abort", abort)
  }
}

class QueueingSocket implements RawSocket {
  handlers: RawSocket["handlers"] = { data() {}, drain() {}, closed() {} }
  queuedBytes = 0
  #queue: Uint8Array[] = []
  #socket: Socket<undefined> | undefined
  #ending = false
  #closed = false
  #paused = false
  #settle: { resolve(socket: QueueingSocket): void; reject(error: unknown): void } | undefined
  #checks: { access: ServerAccess["tls"]; host: string } | undefined

  /** Settles when the connection stands, its TLS and the server's name included. */
  ready(access: ServerAccess["tls"], host: string, secure: boolean): Promise<QueueingSocket> {
    this.#checks = secure ? { access, host } : undefined
    return new Promise((resolve, reject) => {
      this.#settle = { resolve, reject }
    })
  }

  readonly callbacks: SocketHandler<undefined> = {
    open: (socket) => {
      this.#socket = socket
      // Given up before it was there.
      if (this.#closed) return void socket.terminate()
      socket.setNoDelay(true)
      socket.setKeepAlive(true, 30_000)
      if (!this.#checks) this.#done()
    },
    handshake: (socket, _success, error) => {
      const { access, host } = this.#checks ?? { access: undefined, host: "" }
      if (access?.rejectUnauthorized === false) return this.#done()
      if (error || !socket.authorized) return this.fail(error ?? new Error("the server's certificate was not accepted"))
      const mismatch = checkServerIdentity(access?.serverName ?? host, socket.getPeerCertificate() as PeerCertificate)
      if (mismatch) return this.fail(mismatch)
      this.#done()
    },
    // Below TLS that was added later, the runtime also hands out the undecrypted bytes.
    data: (socket, chunk) => {
      if (socket === this.#socket) this.handlers.data(chunk)
    },
    drain: () => this.#flush(),
    end: () => this.#lost(),
    close: (_socket, error) => this.#lost(error),
    error: (_socket, error) => this.fail(error),
    connectError: (_socket, error) => this.fail(error),
  }

  startTls(access: NonNullable<ServerAccess["tls"]>, tls: TLSOptions, host: string): Promise<QueueingSocket> {
    const opened = this.ready(access, host, true)
    const [, secure] = this.#socket!.upgradeTLS({ data: undefined, tls, socket: this.callbacks })
    this.#socket = secure
    return opened
  }

  write(data: Uint8Array): void {
    const rest = this.#writeNow(data)
    if (rest) this.#keep(rest)
  }

  writeCopy(data: Uint8Array): void {
    const rest = this.#writeNow(data)
    if (rest) this.#keep(new Uint8Array(rest))
  }

  /** What the socket did not take. */
  #writeNow(data: Uint8Array): Uint8Array | undefined {
    if (this.#closed || this.#ending) return undefined
    if (this.#queue.length > 0) return data
    const taken = Math.max(0, this.#socket?.write(data) ?? 0)
    return taken === data.byteLength ? undefined : data.subarray(taken)
  }

  #keep(rest: Uint8Array): void {
    this.#queue.push(rest)
    this.queuedBytes += rest.byteLength
  }

  pause(): void {
    if (this.#paused || this.#closed) return
    this.#paused = true
    this.#socket?.pause()
  }

  resume(): void {
    if (!this.#paused || this.#closed) return
    this.#paused = false
    this.#socket?.resume()
  }

  end(): void {
    this.#ending = true
    if (this.#queue.length === 0) this.#socket?.end()
  }

  abort(): void {
    this.fail(new Error("given up"))
  }

  fail(error: unknown): void {
    const reason = error instanceof Error ? error : new Error(String(error))
    // First the reason: cutting the connection reports a close without one.
    this.#lost(reason)
    this.#socket?.terminate()
  }

  #done(): void {
    this.#settle?.resolve(this)
    this.#settle = undefined
  }

  #flush(): void {
    const before = this.queuedBytes
    while (this.#queue.length > 0) {
      const head = this.#queue[0]!
      const taken = Math.max(0, this.#socket?.write(head) ?? 0)
      this.queuedBytes -= taken
      if (taken < head.byteLength) {
        this.#queue[0] = head.subarray(taken)
        break
      }
      this.#queue.shift()
    }
    if (this.#queue.length === 0 && this.#ending) this.#socket?.end()
    if (before > this.queuedBytes) this.handlers.drain()
  }

  #lost(error?: Error): void {
    if (this.#closed) return
    this.#closed = true
    this.#queue = []
    this.queuedBytes = 0
    this.#settle?.reject(error ?? new Error("the connection was closed"))
    this.#settle = undefined
    this.handlers.closed(error)
  }
}
