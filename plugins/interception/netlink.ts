import { errno, LinuxError } from "../../core/linux/errno.ts"
import { syscall } from "../../core/linux/syscall.ts"

/*
 * A netlink message: length u32, type u16, flags u16, sequence u32, port id u32, then the family's own header and attributes.
 * An attribute: length u16 (with its header), type u16 (0x8000 = nested), data, padding to 4 bytes.
 * Header fields are in the machine's byte order (little-endian on every platform podside runs on); values inside nf_tables and
 * ctnetlink attributes are big-endian unless said otherwise. Sources: linux/netlink.h, linux/netfilter/nfnetlink.h.
 */

const AF_NETLINK = 16
const SOCK_RAW_CLOEXEC = 3 | 0o2000000
const SOL_SOCKET = 1
const SO_SNDBUF = 7
const SO_RCVBUF = 8
const SO_RCVTIMEO = 20
/** Room for one transaction; what it asks for is cut by the kernel to net.core.wmem_max. */
const bufferBytes = 4 << 20
/** The kernel answers inside the call that sent the request; the wait only guards against a lost answer. */
const receiveTimeoutSeconds = 2n

export const NETLINK_NETFILTER = 12
export const NETLINK_SOCK_DIAG = 4

export const NLM_F_REQUEST = 1
export const NLM_F_ACK = 4
export const NLM_F_DUMP = 0x300
export const NLM_F_CREATE = 0x400
export const NLM_F_APPEND = 0x800

const NLMSG_ERROR = 2
const NLMSG_DONE = 3
/** What is listed changed between two parts of the listing: some of it may be missing, or be there twice. */
const NLM_F_DUMP_INTR = 0x10
/** Each is over in milliseconds; whoever changes things all the time pauses now and then. */
const listingAttempts = 200

export function be16(value: number): Buffer {
  const bytes = Buffer.alloc(2)
  bytes.writeUInt16BE(value)
  return bytes
}

export function be32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value | 0)
  return bytes
}

/** For values compared inside registers that hold the machine's byte order (marks, states). */
export function host32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value >>> 0)
  return bytes
}

export function text(value: string): Buffer {
  return Buffer.from(`${value}\0`)
}

export function attribute(type: number, data: Uint8Array): Buffer {
  const length = data.length + 4
  const bytes = Buffer.alloc((length + 3) & ~3)
  bytes.writeUInt16LE(length, 0)
  bytes.writeUInt16LE(type, 2)
  bytes.set(data, 4)
  return bytes
}

export function nested(type: number, ...attributes: Buffer[]): Buffer {
  return attribute(type | 0x8000, Buffer.concat(attributes))
}

/** The attributes of one level, by type; of a repeated type the last. Lengths that do not fit end the reading. */
export function readAttributes(bytes: Buffer): Map<number, Buffer> {
  return new Map(listAttributes(bytes).map(({ type, data }) => [type, data]))
}

/** The attributes of one level in their order. */
export function listAttributes(bytes: Buffer): { type: number; data: Buffer }[] {
  const found: { type: number; data: Buffer }[] = []
  for (let at = 0; at + 4 <= bytes.length; ) {
    const length = bytes.readUInt16LE(at)
    if (length < 4 || at + length > bytes.length) break
    found.push({ type: bytes.readUInt16LE(at + 2) & 0x3fff, data: bytes.subarray(at + 4, at + length) })
    at += (length + 3) & ~3
  }
  return found
}

export interface NetlinkMessage {
  type: number
  /** Besides NLM_F_REQUEST. */
  flags: number
  /** The family's header and the attributes. */
  body: Buffer
}

interface Received {
  type: number
  flags: number
  sequence: number
  body: Buffer
}

/** One netlink socket; it belongs to the network namespace the calling thread is in when it is opened. */
export class NetlinkSocket {
  #fd: number
  readonly #receiveBuffer = Buffer.alloc(64 << 10)
  #sequence = 0

  /** @throws LinuxError */
  constructor(protocol: number) {
    this.#fd = syscall("socket", AF_NETLINK, SOCK_RAW_CLOEXEC, protocol)
    if (this.#fd < 0) throw new LinuxError(this.#fd, "open a netlink socket")
    const timeout = new BigInt64Array([receiveTimeoutSeconds, 0n])
    syscall("setsockopt", this.#fd, SOL_SOCKET, SO_RCVTIMEO, timeout, 16)
    for (const option of [SO_SNDBUF, SO_RCVBUF]) {
      syscall("setsockopt", this.#fd, SOL_SOCKET, option, new Int32Array([bufferBytes]), 4)
    }
  }

  /**
   * Sends messages in one call and waits for the answer of each that asks for one (NLM_F_ACK).
   * @throws LinuxError of the first that was refused; `what` says what was tried
   */
  send(messages: readonly NetlinkMessage[], what: string): void {
    let awaited = 0
    const first = this.#sequence + 1
    const packets = messages.map((message) => {
      if (message.flags & NLM_F_ACK) awaited++
      return this.#packet(message)
    })
    this.#sendBytes(Buffer.concat(packets), what)
    let failure = 0
    while (awaited > 0) {
      for (const { type, sequence, body } of this.#receive(what)) {
        if (type !== NLMSG_ERROR || sequence < first) continue
        failure ||= body.readInt32LE(0)
        // A refusal of a message that asked for no answer is a refusal of them all: nothing else will come.
        awaited = (messages[sequence - first]?.flags ?? 0) & NLM_F_ACK ? awaited - 1 : 0
      }
    }
    if (failure !== 0) throw new LinuxError(failure, what)
  }

  /** Asks for a listing: the bodies of all its messages, as they were at one moment where the kernel can tell. @throws LinuxError */
  dump(message: Omit<NetlinkMessage, "flags">, what: string): Buffer[] {
    for (let attempt = 0; attempt < listingAttempts; attempt++) {
      const bodies = this.#dumpOnce(message, what)
      if (bodies) return bodies
    }
    throw new LinuxError(errno.EAGAIN, what)
  }

  /** Undefined: something changed meanwhile. */
  #dumpOnce(message: Omit<NetlinkMessage, "flags">, what: string): Buffer[] | undefined {
    this.#sendBytes(this.#packet({ ...message, flags: NLM_F_DUMP }), what)
    const bodies: Buffer[] = []
    let isWhole = true
    for (;;) {
      for (const { type, flags, sequence, body } of this.#receive(what)) {
        if (sequence !== this.#sequence) continue
        if (flags & NLM_F_DUMP_INTR) isWhole = false
        if (type === NLMSG_DONE) return isWhole ? bodies : undefined
        if (type !== NLMSG_ERROR) bodies.push(Buffer.from(body))
        else if (body.readInt32LE(0) !== 0) throw new LinuxError(body.readInt32LE(0), what)
      }
    }
  }

  /** Asks for one object: the body of the answer, good until the next call. @throws LinuxError ENOENT and others */
  ask(message: Omit<NetlinkMessage, "flags">, what: string): Buffer {
    this.#sendBytes(this.#packet({ ...message, flags: 0 }), what)
    for (;;) {
      for (const { type, sequence, body } of this.#receive(what)) {
        if (sequence !== this.#sequence) continue
        if (type === NLMSG_ERROR) throw new LinuxError(body.readInt32LE(0), what)
        return body
      }
    }
  }

  /** `move` gives the descriptor another number and returns it. */
  moveDescriptor(move: (fd: number) => number): void {
    this.#fd = move(this.#fd)
  }

  /** @throws LinuxError */
  setOption(level: number, option: number, value: number, what: string): void {
    const result = syscall("setsockopt", this.#fd, level, option, new Int32Array([value]), 4)
    if (result < 0) throw new LinuxError(result, what)
  }

  /** @throws LinuxError */
  option(level: number, option: number, what: string): number {
    const value = new Int32Array(1)
    const result = syscall("getsockopt", this.#fd, level, option, value, new Int32Array([4]))
    if (result < 0) throw new LinuxError(result, what)
    return value[0]!
  }

  /** The descriptor, which is the caller's from now on: nothing else is to be done with this object. */
  release(): number {
    return this.#fd
  }

  close(): void {
    syscall("close", this.#fd)
  }

  #packet({ type, flags, body }: NetlinkMessage): Buffer {
    const packet = Buffer.alloc((16 + body.length + 3) & ~3)
    packet.writeUInt32LE(16 + body.length, 0)
    packet.writeUInt16LE(type, 4)
    packet.writeUInt16LE(flags | NLM_F_REQUEST, 6)
    packet.writeUInt32LE(++this.#sequence, 8)
    packet.set(body, 16)
    return packet
  }

  #sendBytes(bytes: Buffer, what: string): void {
    const kernel = Buffer.alloc(12)
    kernel.writeUInt16LE(AF_NETLINK)
    const sent = syscall("sendto", this.#fd, bytes, bytes.length, 0, kernel, kernel.length)
    if (sent < 0) throw new LinuxError(sent, what)
  }

  #receive(what: string): Received[] {
    const length = syscall("recvfrom", this.#fd, this.#receiveBuffer, this.#receiveBuffer.length, 0, null, null)
    if (length < 0) throw new LinuxError(length, what)
    const messages: Received[] = []
    for (let at = 0; at + 16 <= length; ) {
      const size = this.#receiveBuffer.readUInt32LE(at)
      if (size < 16 || at + size > length) break
      messages.push({
        type: this.#receiveBuffer.readUInt16LE(at + 4),
        flags: this.#receiveBuffer.readUInt16LE(at + 6),
        sequence: this.#receiveBuffer.readUInt32LE(at + 8),
        body: this.#receiveBuffer.subarray(at + 16, at + size),
      })
      at += (size + 3) & ~3
    }
    return messages
  }
}
