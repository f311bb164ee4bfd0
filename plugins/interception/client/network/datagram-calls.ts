import type { Endpoint } from "../../../../core/interceptor.ts"
import { isNonBlocking } from "../../../../core/linux/blocking.ts"
import { errno } from "../../../../core/linux/errno.ts"
import { POLLRDHUP, poll } from "../../../../core/linux/poll.ts"
import { SOCK_DGRAM } from "../../../../core/linux/socket.ts"
import { AF_INET, AF_INET6, decodeEndpoint } from "../../../../core/linux/socket-address.ts"
import { syscall } from "../../../../core/linux/syscall.ts"
import { type Answer, type Call, failure, type Handler, type Handlers, proceed, value } from "../kernel/call.ts"
import {
  headerBytes,
  type MessageHeader,
  maxDataBytes,
  mmsgBytes,
  readHeader,
  readHeaders,
  takeMessage,
} from "../kernel/message-header.ts"
import {
  addressBytes,
  addressFor,
  endpointName,
  fitting,
  isOnlyV6,
  readAddress,
  socketCookie,
  socketFamily,
  socketType,
  writeAddress,
} from "../kernel/socket-info.ts"
import {
  fetchDescriptor,
  gather,
  readMemory,
  readVectors,
  scatter,
  type Vector,
  vectorBytes,
  writeMemory,
} from "../kernel/tracee.ts"
import type { NetworkSupervision } from "../supervision.ts"
import { EPOLLIN } from "../watch/readiness.ts"
import { remoteDestination } from "./destinations.ts"
import { isForProgramItself } from "./own-datagrams.ts"

const MSG_DONTWAIT = 0x40
const MSG_ERRQUEUE = 0x2000
const MSG_FASTOPEN = 0x20000000
/** The largest datagram of UDP over IPv4. */
const maxDatagramBytes = 65_507
/** Messages moved by one sendmmsg or recvmmsg; the program makes the call again for the rest. */
const maxMessages = 64

/** What is left to be told of a message the program has. */
interface Received {
  count: number
  flags: number
  controlLength: number
  /** Its sender, as the program is to see it. */
  name: Uint8Array
}

/** What a receiver gets from a socket that was shut down while it waited. */
const nothing: Received = { count: 0, flags: 0, controlLength: 0, name: new Uint8Array(0) }

/** Datagrams with an address in the call: sent and received by the engine on the program's socket, with the addresses exchanged. */
export function datagramCalls({ world, udp, waits }: NetworkSupervision): Handlers {
  /** Runs `use` with a copy of the socket when it is an IP datagram socket; everything else is the kernel's. */
  function onDatagramSocket(use: (call: Call, fd: number, family: number) => Promise<Answer>): Handler {
    return async (call) => {
      const fd = fetchDescriptor(call.tid, call.int(0))
      try {
        const family = socketFamily(fd)
        const isIp = family === AF_INET || family === AF_INET6
        if (!isIp || socketType(fd) !== SOCK_DGRAM)
          return isIp && isFastOpen(call) ? failure(errno.EOPNOTSUPP) : proceed
        return await use(call, fd, family)
      } finally {
        syscall("close", fd)
      }
    }
  }

  /** Sends one datagram; undefined when its destination is none of ours. Else the count or a negative errno. */
  async function sendOne(
    call: Call,
    fd: number,
    family: number,
    address: Buffer,
    vectors: () => Vector[],
    flags: number,
  ): Promise<number | undefined> {
    const peer = decodeEndpoint(address)
    const reach = peer && remoteDestination(world, "udp", peer)
    if (!peer || !reach) return undefined
    const cookie = socketCookie(fd)
    if (!udp.knows(cookie, peer) && isForProgramItself(peer)) return undefined
    const data = gather(call.tid, vectors())
    if (data.length > maxDatagramBytes) return -errno.EMSGSIZE
    const association = await udp.of(cookie, isOnlyV6(fd, family) ? "::1" : "127.0.0.1", peer, reach)
    // The sender's port has to be known before its datagram arrives, and changes when it is connected and unconnected again.
    association.program = boundName(fd, family)
    const to = addressFor(family, association)
    return syscall("sendto", fd, data, data.length, (flags & ~MSG_FASTOPEN) | MSG_DONTWAIT, to, to.length)
  }

  const sendTo = onDatagramSocket(async (call, fd, family) => {
    const vectors = () => [{ address: call.word(1), length: Math.min(call.size(2), maxDatagramBytes + 1) }]
    const count = await sendOne(call, fd, family, readAddress(call, 4, 5), vectors, call.int(3))
    return counted(count)
  })

  const sendMessage = onDatagramSocket(async (call, fd, family) => {
    const header = readHeader(readMemory(call.tid, call.word(1), headerBytes))
    if (header.name === 0n) return proceed
    return counted(await sendOne(call, fd, family, nameOf(call, header), () => vectorsOf(call, header), call.int(2)))
  })

  const sendMessages = onDatagramSocket(async (call, fd, family) => {
    const headers = readHeaders(call, Math.min(call.size(2), maxMessages))
    const flags = call.int(3)
    let sent = 0
    for (const [index, header] of headers.entries()) {
      const address = header.name === 0n ? undefined : nameOf(call, header)
      const vectors = () => vectorsOf(call, header)
      let count = address && (await sendOne(call, fd, family, address, vectors, flags))
      if (count === undefined) {
        // None of ours: when it is the first, the kernel may do them all, else this one goes out as it is.
        if (sent === 0) return proceed
        const data = gather(call.tid, vectors())
        count = syscall("sendto", fd, data, data.length, flags | MSG_DONTWAIT, address ?? null, address?.length ?? 0)
      }
      if (count < 0) return sent > 0 ? value(sent) : failure(-count)
      writeCount(call, index, count)
      sent++
    }
    return value(sent)
  })

  /** Receives one datagram as recvmsg does, waiting where the program would. Or a negative errno. */
  async function receiveOne(
    call: Call,
    fd: number,
    header: MessageHeader,
    flags: number,
    abandoned: Promise<never> | undefined,
  ): Promise<Received | number> {
    const vectors = vectorsOf(call, header)
    const room = { data: vectorBytes(vectors), control: header.controlLength }
    const mayWait = !isNonBlocking(fd) && (flags & MSG_DONTWAIT) === 0
    for (;;) {
      const got = takeMessage(fd, room, flags | MSG_DONTWAIT)
      if (got === -errno.EAGAIN && mayWait && abandoned) {
        // Only a call that waits learns of it.
        if (isShutDown(fd)) return nothing
        await waits.until(fd, EPOLLIN, abandoned)
        continue
      }
      if (typeof got === "number") return got
      scatter(call.tid, vectors, got.data)
      writeMemory(call.tid, header.control, got.control)
      const { count, control } = got
      return { count, flags: got.flags, controlLength: control.length, name: trueSource(fd, got.name) }
    }
  }

  /** The address a datagram has for the program. */
  function trueSource(fd: number, address: Buffer): Buffer {
    const behind = udp.behind(decodeEndpoint(address))
    return behind ? fitting(socketFamily(fd), behind.peer) : Buffer.from(address)
  }

  const receiveFrom = onDatagramSocket(async (call, fd) => {
    const flags = call.int(3)
    if (flags & MSG_ERRQUEUE) return proceed
    return waits.interruptible(call, async (_, abandoned) => {
      const single = { address: call.word(1), length: Math.min(call.size(2), maxDataBytes) }
      const got = await receiveOne(call, fd, singleHeader(single), flags, abandoned)
      if (typeof got === "number") return failure(-got)
      writeAddress(call.tid, call.word(4), call.word(5), got.name)
      return value(got.count)
    })
  })

  const receiveMessage = onDatagramSocket(async (call, fd) => {
    const flags = call.int(2)
    const at = call.word(1)
    const header = readHeader(readMemory(call.tid, at, headerBytes))
    if (flags & MSG_ERRQUEUE || header.name === 0n) return proceed
    return waits.interruptible(call, async (_, abandoned) => {
      const got = await receiveOne(call, fd, header, flags, abandoned)
      if (typeof got === "number") return failure(-got)
      writeBack(call, at, header, got)
      return value(got.count)
    })
  })

  const receiveMessages = onDatagramSocket(async (call, fd) => {
    const flags = call.int(3)
    if (flags & MSG_ERRQUEUE) return proceed
    const headers = readHeaders(call, Math.min(call.size(2), maxMessages))
    return waits.interruptible(call, async (_, abandoned) => {
      let received = 0
      for (const [index, header] of headers.entries()) {
        // Only the first is waited for.
        const got = await receiveOne(call, fd, header, flags & 0xffff, received === 0 ? abandoned : undefined)
        if (typeof got === "number") return received > 0 ? value(received) : failure(-got)
        writeBack(call, call.word(1) + BigInt(index * mmsgBytes), header, got)
        writeCount(call, index, got.count)
        received++
      }
      return value(received)
    })
  })

  return {
    sendto: sendTo,
    sendmsg: sendMessage,
    sendmmsg: sendMessages,
    recvfrom: receiveFrom,
    recvmsg: receiveMessage,
    recvmmsg: receiveMessages,
  }
}

function counted(count: number | undefined): Answer {
  if (count === undefined) return proceed
  return count < 0 ? failure(-count) : value(count)
}

/** TCP with data in the SYN: a connect the engine would not see. Programs fall back to connect. */
function isFastOpen(call: Call): boolean {
  const flags = call.name === "sendto" ? call.int(3) : call.name === "sendmsg" ? call.int(2) : 0
  return (flags & MSG_FASTOPEN) !== 0
}

function nameOf(call: Call, header: MessageHeader): Buffer {
  return readMemory(call.tid, header.name, Math.min(header.nameLength, addressBytes))
}

function vectorsOf(call: Call, header: MessageHeader): Vector[] {
  if (header.single) return [header.single]
  return readVectors(call.tid, header.vector, header.count, maxDataBytes)
}

function singleHeader(single: Vector): MessageHeader {
  return { name: 0n, nameLength: 0, vector: 0n, count: 1, control: 0n, controlLength: 0, flags: 0, single }
}

function writeBack(call: Call, at: bigint, asked: MessageHeader, got: Received): void {
  const lengths = Buffer.alloc(8)
  if (asked.name !== 0n) {
    writeMemory(call.tid, asked.name, got.name.subarray(0, Math.max(0, asked.nameLength)))
    lengths.writeUInt32LE(got.name.length)
    writeMemory(call.tid, at + 8n, lengths.subarray(0, 4))
  }
  lengths.writeBigUInt64LE(BigInt(got.controlLength))
  writeMemory(call.tid, at + 40n, lengths)
  lengths.writeInt32LE(got.flags)
  writeMemory(call.tid, at + 48n, lengths.subarray(0, 4))
}

/** msg_len of the message with this index. */
function writeCount(call: Call, index: number, count: number): void {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(count)
  writeMemory(call.tid, call.word(1) + BigInt(index * mmsgBytes + headerBytes), bytes)
}

/** Gives an unbound socket its port, as its first datagram would. */
function boundName(fd: number, family: number): Endpoint | undefined {
  const own = endpointName("getsockname", fd)
  if (own && own.port !== 0) return own
  const anywhere = addressFor(family, { ip: family === AF_INET6 ? "::" : "0.0.0.0", port: 0 })
  syscall("bind", fd, anywhere, anywhere.length)
  return endpointName("getsockname", fd)
}

/** Whether nothing is received any more: a receiver that waits natively is told so by an empty message. */
const isShutDown = (fd: number) => poll(fd, POLLRDHUP) > 0
