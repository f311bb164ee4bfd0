import { setNonBlocking } from "../../../../core/linux/blocking.ts"
import { check, errno } from "../../../../core/linux/errno.ts"
import { addressOf, syscall } from "../../../../core/linux/syscall.ts"
import { notificationBytes } from "../kernel/notification.ts"

/*
 * The way from the watching thread to the main one: frames of `notificationBytes` over a socket, because its event loop is woken
 * sooner by a descriptor than by a message, and more evenly. A frame is a notification as it came, or a report: its call number (i32 at 16)
 * is -1, which no call has, and the token (u32) is at 0.
 */
const AF_UNIX = 1
const SOCK_STREAM = 1
const SOCK_CLOEXEC = 0o2000000
const callNumberAt = 16
const reportNumber = -1

/** The watching thread's end. Waits when the main thread has not read for long. */
export class WatchWriter {
  readonly #fd: number
  readonly #report = Buffer.from(new ArrayBuffer(notificationBytes))
  constructor(fd: number) {
    this.#fd = fd
    this.#report.writeInt32LE(reportNumber, callNumberAt)
  }

  call(notification: Uint8Array): void {
    for (let done = 0; done < notificationBytes; ) {
      const count = syscall("write", this.#fd, addressOf(notification) + BigInt(done), notificationBytes - done)
      if (count === -errno.EINTR) continue
      // Nobody reads any more: the program is ending.
      if (count < 0) return
      done += count
    }
  }

  ready(token: number): void {
    this.#report.writeUInt32LE(token, 0)
    this.call(this.#report)
  }
}

/** The main thread's end. */
export interface WatchChannel {
  /** Descriptor of the other end, which is the caller's to close when the watching thread has ended. */
  writeFd: number
  close(): void
}

/** `take` gets each notification, in memory of its own; `ready` each report. */
export async function openWatchChannel(
  take: (notification: Uint8Array) => void,
  ready: (token: number) => void,
): Promise<WatchChannel> {
  const pair = new Int32Array(new ArrayBuffer(8))
  check(syscall("socketpair", AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), "socketpair")
  const [fd, writeFd] = [pair[0]!, pair[1]!]
  setNonBlocking(fd, true)
  let rest: Uint8Array = new Uint8Array(0)
  const socket = await Bun.connect({
    fd,
    socket: {
      data(_: unknown, chunk: Buffer) {
        const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
        let at = 0
        for (; at + notificationBytes <= bytes.length; at += notificationBytes) {
          const frame = Buffer.from(bytes.subarray(at, at + notificationBytes))
          if (frame.readInt32LE(callNumberAt) === reportNumber) ready(frame.readUInt32LE(0))
          else take(frame)
        }
        rest = Buffer.from(bytes.subarray(at))
      },
      close() {},
      error() {},
    },
  } as unknown as Bun.TCPSocketConnectOptions)
  return {
    writeFd,
    close() {
      socket.terminate()
      syscall("close", writeFd)
    },
  }
}
