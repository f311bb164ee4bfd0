import { addressOf } from "../../../../core/linux/syscall.ts"
import type { Call } from "./call.ts"
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

/** A header of our own. The memory it points to must be kept by the caller. */
export function encodeHeader(
  { name, nameLength, vector, count }: Pick<MessageHeader, "name" | "nameLength" | "vector" | "count">,
  control: Buffer,
): Buffer {
  const bytes = Buffer.alloc(headerBytes)
  bytes.writeBigUInt64LE(name, 0)
  bytes.writeUInt32LE(nameLength, 8)
  bytes.writeBigUInt64LE(vector, 16)
  bytes.writeBigUInt64LE(BigInt(count), 24)
  bytes.writeBigUInt64LE(control.length === 0 ? 0n : addressOf(control), 32)
  bytes.writeBigUInt64LE(BigInt(control.length), 40)
  return bytes
}
