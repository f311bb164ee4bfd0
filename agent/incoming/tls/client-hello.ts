/** What a caller says about the connection it wants, before anything is encrypted (RFC 8446, section 4.1.2). */
export interface ClientHello {
  /** Name from the server name extension. */
  serverName: string | undefined
  /** ALPN names the caller knows, in its order; empty: it does not use ALPN. */
  alpnProtocols: readonly string[]
}

/** `other`: these bytes are no TLS. */
export type ReadHello = ClientHello | "incomplete" | "other"

const recordHandshake = 22
const messageClientHello = 1
const extensionServerName = 0
const extensionAlpn = 16
const recordHeaderBytes = 5
/** Larger than any in use: post-quantum key shares take about 2 KiB. */
const maxHelloBytes = 64 << 10

export function readClientHello(bytes: Buffer): ReadHello {
  const message = handshakeMessage(bytes)
  if (typeof message === "string") return message
  try {
    return readMessage(new Reader(message))
  } catch {
    return "other"
  }
}

/** The first message of the handshake, which may be spread over several records, without its header. */
function handshakeMessage(bytes: Buffer): Buffer | "incomplete" | "other" {
  const pieces: Buffer[] = []
  let at = 0
  let length = 0
  while (at < bytes.length) {
    if (bytes[at] !== recordHandshake || (bytes[at + 1] ?? 3) !== 3) return "other"
    if (at + recordHeaderBytes > bytes.length) return "incomplete"
    const size = bytes.readUInt16BE(at + 3)
    if (size === 0) return "other"
    const piece = bytes.subarray(at + recordHeaderBytes, at + recordHeaderBytes + size)
    pieces.push(piece)
    length += piece.length
    at += recordHeaderBytes + size
    if (length < 4) continue
    const message = pieces.length === 1 ? piece : Buffer.concat(pieces)
    const end = 4 + message.readUIntBE(1, 3)
    if (message[0] !== messageClientHello || end > maxHelloBytes) return "other"
    if (message.length >= end) return message.subarray(4, end)
  }
  return "incomplete"
}

function readMessage(hello: Reader): ClientHello {
  const found: ClientHello = { serverName: undefined, alpnProtocols: [] }
  // Version and random, session id, cipher suites, compression methods.
  hello.skip(2 + 32)
  hello.vector(1)
  hello.vector(2)
  hello.vector(1)
  if (!hello.left) return found
  const extensions = hello.vector(2)
  while (extensions.left) {
    const type = extensions.number(2)
    const content = extensions.vector(2)
    if (type === extensionServerName) found.serverName = firstHostName(content.vector(2))
    else if (type === extensionAlpn) found.alpnProtocols = names(content.vector(2))
  }
  return found
}

function firstHostName(list: Reader): string | undefined {
  while (list.left) {
    const isHost = list.number(1) === 0
    const name = list.vector(2).text()
    if (isHost) return name
  }
  return undefined
}

function names(list: Reader): string[] {
  const all: string[] = []
  while (list.left) all.push(list.vector(1).text())
  return all
}

/** @throws RangeError when something reaches beyond the end */
class Reader {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  get left(): boolean {
    return this.#at < this.#bytes.length
  }

  number(bytes: number): number {
    this.skip(bytes)
    return this.#bytes.readUIntBE(this.#at - bytes, bytes)
  }

  /** What follows a length of `lengthBytes`. */
  vector(lengthBytes: number): Reader {
    const length = this.number(lengthBytes)
    this.skip(length)
    return new Reader(this.#bytes.subarray(this.#at - length, this.#at))
  }

  skip(bytes: number): void {
    this.#at += bytes
    if (this.#at > this.#bytes.length) throw new RangeError("cut short")
  }

  text(): string {
    return this.#bytes.toString("latin1")
  }
}
