import { addressOf, syscall } from "../../../../core/linux/syscall.ts"
import type { Call } from "./call.ts"
import { addressBytes } from "./socket-info.ts"
import { readMemory, type Vector } from "./tracee.ts"

/** struct msghdr: name u64, namelen u32, pad, iov u64, iovlen u64, control u64, controllen u64, flags i32, pad. */
export const headerBytes = 56
/** struct mmsghdr: struct msghdr, len u32, pad. */
export const mmsgBytes = 64

export interface MessageHeader {
  name: bigint
  nameLength: number
  vector: bigint
  count: number
  control: bigint
  controlLength: number
  flags: number
  /** Stands in for the vector where a call has one buffer only. */
  single?: Vector
}

export function readHeader(bytes: Buffer, at = 0): MessageHeader {
  return {
    name: bytes.readBigUInt64LE(at),
    nameLength: bytes.readInt32LE(at + 8),
    vector: bytes.readBigUInt64LE(at + 16),
    count: Number(bytes.readBigUInt64LE(at + 24)),
    control: bytes.readBigUInt64LE(at + 32),
    controlLength: Number(bytes.readBigUInt64LE(at + 40)),
    flags: bytes.readInt32LE(at + 48),
  }
}

/** The headers of sendmmsg and recvmmsg. @throws LinuxError EFAULT */
export function readHeaders(call: Call, count: number): MessageHeader[] {
  const bytes = readMemory(call.tid, call.word(1), count * mmsgBytes)
  return Array.from({ length: count }, (_, index) => readHeader(bytes, index * mmsgBytes))
}

/** The largest datagram there is, rounded up. */
export const maxDataBytes = 65_536
const maxControlBytes = 4096

// Kept for as long as this runs: the runtime sees no use of memory that only an address in a structure leads to, and frees it.
const data = Buffer.from(new ArrayBuffer(maxDataBytes))
const name = Buffer.from(new ArrayBuffer(addressBytes))
const control = Buffer.from(new ArrayBuffer(maxControlBytes))
const vector = new BigUint64Array(new ArrayBuffer(16))
const header = Buffer.from(new ArrayBuffer(headerBytes))
vector[0] = addressOf(data)
header.writeBigUInt64LE(addressOf(name), 0)
header.writeBigUInt64LE(addressOf(vector), 16)
header.writeBigUInt64LE(1n, 24)
header.writeBigUInt64LE(addressOf(control), 32)

/** What recvmsg(2) gave: its result, the message's flags and its parts as far as there was room for them. */
export interface ReceivedMessage {
  count: number
  flags: number
  data: Buffer
  name: Buffer
  control: Buffer
}

/** Receives one message with room for so many bytes of each kind. Its parts are good until the next call. Or a negative errno. */
export function takeMessage(
  fd: number,
  room: { data: number; control: number },
  flags: number,
): ReceivedMessage | number {
  vector[1] = BigInt(Math.min(room.data, maxDataBytes))
  header.writeUInt32LE(addressBytes, 8)
  header.writeBigUInt64LE(BigInt(Math.min(room.control, maxControlBytes)), 40)
  const count = syscall("recvmsg", fd, header, flags)
  if (count < 0) return count
  const got = readHeader(header)
  return {
    count,
    flags: got.flags,
    data: data.subarray(0, Math.min(count, Number(vector[1]))),
    name: name.subarray(0, got.nameLength),
    control: control.subarray(0, got.controlLength),
  }
}
