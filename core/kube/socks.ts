import { randomBytes, timingSafeEqual } from "node:crypto"
import { type AddressInfo, connect, createServer, isIP, type Socket } from "node:net"
import { AppError, errorText } from "../errors.ts"

/*
 * SOCKS 5 (RFC 1928, user name and password: RFC 1929). As kubectl does, names are left to the proxy to resolve.
 *
 *   we     5, count, methods (0 none, 2 password)    proxy  5, method
 *   we     1, length, user, length, password         proxy  1, 0
 *   we     5, 1, 0, address, port                    proxy  5, status, 0, address, port
 *   an address is 1 and 4 bytes, 3 and a length and a name, or 4 and 16 bytes
 */

const handshakeMs = 15_000
const maxHeadBytes = 16_384
const statuses = [
  "",
  "it failed",
  "its rules do not allow the connection",
  "the network cannot be reached",
  "the host cannot be reached",
  "the connection was refused",
  "the connection took too long",
  "it cannot connect",
  "it does not know this form of address",
]

const bridges = new Map<string, Promise<string>>()

export const isSocks5 = (proxy: string): boolean => /^socks5h?:/.test(proxy)

/**
 * Address of an HTTP proxy of this process that reaches `server` (host:port), and nothing else, through a SOCKS proxy: the
 * runtime's `fetch` knows HTTP proxies only. It wants a password nobody else knows, and does not keep the process alive.
 */
export function bridgeTo(proxy: string, server: string): Promise<string> {
  const key = `${proxy} ${server}`
  const known = bridges.get(key)
  if (known) return known
  const made = startBridge(new URL(proxy), server)
  bridges.set(key, made)
  return made
}

async function startBridge(proxy: URL, server: string): Promise<string> {
  const password = randomBytes(16).toString("hex")
  const login = Buffer.from(`Basic ${btoa(`podside:${password}`)}`)
  const listener = createServer((socket) => {
    serve(socket, { proxy, server, login }).catch((thrown) => {
      socket.end(`HTTP/1.1 502 ${errorText(thrown).replace(/[\r\n]/g, " ")}\r\nContent-Length: 0\r\n\r\n`)
    })
  })
  await new Promise<void>((resolve, reject) => {
    listener.once("error", reject)
    listener.listen(0, "127.0.0.1", resolve)
  })
  listener.unref()
  return `http://podside:${password}@127.0.0.1:${(listener.address() as AddressInfo).port}`
}

async function serve(socket: Socket, to: { proxy: URL; server: string; login: Buffer }): Promise<void> {
  socket.setNoDelay(true)
  socket.on("error", () => socket.destroy())
  const reader = new ByteReader(socket)
  const head = (await reader.until("\r\n\r\n", maxHeadBytes)).toString("latin1")
  const authority = /^CONNECT (\S+) HTTP\/1\.1\r\n/.exec(head)?.[1]
  const given = Buffer.from(/^proxy-authorization: (.*)$/im.exec(head)?.[1]?.trim() ?? "")
  if (given.length !== to.login.length || !timingSafeEqual(given, to.login)) {
    socket.end("HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
    return
  }
  if (authority !== to.server) throw new Error(`only ${to.server} is reached from here`)
  const upstream = await dialSocks(to.proxy, to.server)
  socket.once("close", () => upstream.destroy())
  upstream.once("close", () => socket.destroy())
  socket.write("HTTP/1.1 200 Connection established\r\n\r\n")
  upstream.pipe(socket)
  const early = reader.rest()
  if (early.length > 0) upstream.write(early)
  socket.pipe(upstream)
}

/** A connection to `server` through the proxy. @throws Error that says what the proxy said */
async function dialSocks(proxy: URL, server: string): Promise<Socket> {
  const name = `the SOCKS proxy ${proxy.host}`
  const socket = connect({ host: proxy.hostname.replace(/^\[|\]$/g, ""), port: Number(proxy.port || 1080) })
  const timer = setTimeout(() => socket.destroy(new Error(`${name} does not answer`)), handshakeMs)
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once("connect", resolve)
      socket.once("error", reject)
    })
    socket.setNoDelay(true)
    const reader = new ByteReader(socket)
    await authenticate(socket, reader, proxy, name)
    socket.write(Buffer.concat([Buffer.from([5, 1, 0]), addressOf(server)]))
    const [version, status, , kind] = await reader.take(4)
    if (version !== 5) throw new Error(`${name} does not speak SOCKS 5`)
    if (status !== 0) throw new Error(`${name} cannot reach ${server}: ${statuses[status!] ?? `status ${status}`}`)
    const length = kind === 1 ? 4 : kind === 4 ? 16 : (await reader.take(1))[0]!
    await reader.take(length + 2)
    const early = reader.rest()
    if (early.length > 0) socket.unshift(early)
    return socket
  } catch (thrown) {
    socket.destroy()
    throw thrown
  } finally {
    clearTimeout(timer)
  }
}

async function authenticate(socket: Socket, reader: ByteReader, proxy: URL, name: string): Promise<void> {
  const hasLogin = proxy.username !== ""
  socket.write(Buffer.from(hasLogin ? [5, 2, 0, 2] : [5, 1, 0]))
  const [version, method] = await reader.take(2)
  if (version !== 5) throw new Error(`${name} does not speak SOCKS 5`)
  if (method === 0) return
  if (method !== 2 || !hasLogin) throw new Error(`${name} wants another kind of login`)
  const [user, password] = [proxy.username, proxy.password].map((text) => Buffer.from(decodeURIComponent(text)))
  socket.write(Buffer.concat([Buffer.from([1, user!.length]), user!, Buffer.from([password!.length]), password!]))
  const [, status] = await reader.take(2)
  if (status !== 0) throw new Error(`${name} does not accept the user name or password`)
}

function addressOf(server: string): Buffer {
  const at = server.lastIndexOf(":")
  const host = server.slice(0, at).replace(/^\[|\]$/g, "")
  const port = Buffer.alloc(2)
  port.writeUInt16BE(Number(server.slice(at + 1)))
  if (isIP(host) === 4) return Buffer.concat([Buffer.from([1, ...host.split(".").map(Number)]), port])
  if (isIP(host) === 6) return Buffer.concat([Buffer.from([4]), ipv6Bytes(host), port])
  const name = Buffer.from(host)
  if (name.length > 255) throw new AppError("kube-config", `The server name "${host}" is too long for a SOCKS proxy`)
  return Buffer.concat([Buffer.from([3, name.length]), name, port])
}

function ipv6Bytes(host: string): Buffer {
  const [left = "", right] = host.split("::")
  const groups = (text: string) => (text === "" ? [] : text.split(":").map((group) => Number.parseInt(group, 16)))
  const [before, after] = [groups(left), groups(right ?? "")]
  const words = [...before, ...Array<number>(8 - before.length - after.length).fill(0), ...after]
  const bytes = Buffer.alloc(16)
  for (const [i, word] of words.entries()) bytes.writeUInt16BE(word, 2 * i)
  return bytes
}

/** Takes what was agreed on from the beginning of a stream, and leaves the rest to others. */
class ByteReader {
  readonly #socket: Socket
  #bytes: Buffer = Buffer.alloc(0)
  #wake = () => {}
  #ended: Error | undefined
  readonly #onData = (chunk: Buffer) => {
    this.#bytes = Buffer.concat([this.#bytes, chunk])
    this.#wake()
  }
  readonly #onEnd = (error?: unknown) => {
    this.#ended = error instanceof Error ? error : new Error("the connection was closed")
    this.#wake()
  }

  constructor(socket: Socket) {
    this.#socket = socket
    socket.on("data", this.#onData)
    socket.on("error", this.#onEnd)
    socket.on("close", this.#onEnd)
  }

  async take(count: number): Promise<Buffer> {
    while (this.#bytes.length < count) await this.#more()
    return this.#cut(count)
  }

  /** Up to and with `end`. */
  async until(end: string, limit: number): Promise<Buffer> {
    for (;;) {
      const at = this.#bytes.indexOf(end)
      if (at >= 0) return this.#cut(at + end.length)
      if (this.#bytes.length > limit) throw new Error("the head of the request is too long")
      await this.#more()
    }
  }

  /** What has come too early; nothing is read any more. */
  rest(): Buffer {
    this.#socket.pause()
    this.#socket.off("data", this.#onData)
    this.#socket.off("close", this.#onEnd)
    return this.#cut(this.#bytes.length)
  }

  #cut(count: number): Buffer {
    const taken = this.#bytes.subarray(0, count)
    this.#bytes = this.#bytes.subarray(count)
    return taken
  }

  async #more(): Promise<void> {
    if (this.#ended) throw this.#ended
    await new Promise<void>((resolve) => (this.#wake = resolve))
  }
}
