import { errno } from "../../../../core/linux/errno.ts"
import { addressOf, syscall } from "../../../../core/linux/syscall.ts"

const SOL_SOCKET = 1
const SCM_RIGHTS = 1
const MSG_CMSG_CLOEXEC = 0x40000000
const MSG_DONTWAIT = 0x40
/** struct cmsghdr: length u64, level i32, type i32; then the descriptor, with room to the next multiple of 8. */
const controlBytes = 24
const controlLength = 20
const numberAt = 16

/**
 * A message of one byte with room for one descriptor. `header` is a struct msghdr: name u64, name length u32, vector u64,
 * vectors u64, control u64, control length u64, flags i32.
 */
export function descriptorMessage() {
  const byte = Buffer.from(new ArrayBuffer(1))
  const vector = Buffer.from(new ArrayBuffer(16))
  vector.writeBigUInt64LE(addressOf(byte), 0)
  vector.writeBigUInt64LE(1n, 8)
  const control = Buffer.from(new ArrayBuffer(controlBytes))
  control.writeBigUInt64LE(BigInt(controlLength), 0)
  control.writeInt32LE(SOL_SOCKET, 8)
  control.writeInt32LE(SCM_RIGHTS, 12)
  const header = Buffer.from(new ArrayBuffer(56))
  header.writeBigUInt64LE(addressOf(vector), 16)
  header.writeBigUInt64LE(1n, 24)
  header.writeBigUInt64LE(addressOf(control), 32)
  header.writeBigUInt64LE(BigInt(controlBytes), 40)
  return {
    header,
    put: (fd: number) => void control.writeInt32LE(fd, numberAt),
    taken: () => control.readInt32LE(numberAt),
    /** What the header points to has to live as long as it does. */
    memory: [byte, vector, control],
  }
}

/** Takes the descriptor that was sent over a unix socket; a negative errno when there is none. */
export function receiveDescriptor(socket: number): number {
  const message = descriptorMessage()
  message.put(-1)
  const count = syscall("recvmsg", socket, message.header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT)
  if (count < 0) return count
  const fd = message.taken()
  return fd < 0 ? -errno.EBADF : fd
}
