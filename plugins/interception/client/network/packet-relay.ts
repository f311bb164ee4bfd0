import type { RemoteConnection } from "../../../../core/client/engine.ts"
import type { Speaker } from "../../../../core/last-words.ts"
import { errno } from "../../../../core/linux/errno.ts"
import { syscall } from "../../../../core/linux/syscall.ts"
import { EPOLLIN, EPOLLOUT, type Readiness } from "../watch/readiness.ts"

const MSG_DONTWAIT = 0x40
const MSG_NOSIGNAL = 0x4000
const SHUT_WR = 1
/** The largest packet carried; the kernel's own limit is its send buffer, which is about as large. */
const maxPacketBytes = 256 * 1024
/** Packets read before others get their turn. */
const packetsPerTurn = 64

/** Carries packets between a local SOCK_SEQPACKET socket and a remote connection. The runtime knows no such sockets. */
export class PacketRelay implements Speaker {
  readonly #fd: number
  readonly #remote: RemoteConnection
  readonly #readiness: Readiness
  readonly #onClosed: () => void
  readonly #packet = Buffer.alloc(maxPacketBytes)
  #queue: Uint8Array[] = []
  #reading: { cancel(): void } | undefined
  #writing: { cancel(): void } | undefined
  #localEnded = false
  passedBytes = 0
  #ending = false
  #closing = false
  #closed = false

  /** Takes over `fd`. */
  constructor(fd: number, remote: RemoteConnection, readiness: Readiness, onClosed: () => void) {
    this.#fd = fd
    this.#remote = remote
    this.#readiness = readiness
    this.#onClosed = onClosed
    remote.attach({
      onData: (data) => {
        this.#queue.push(data)
        this.#send()
      },
      onDrain: () => this.#read(),
      onEnd: () => {
        this.#ending = true
        this.#send()
      },
      onClose: () => {
        this.#closing = true
        this.#send()
      },
    })
    this.#read()
  }

  get isSpeaking(): boolean {
    return !this.#closed && !this.#closing && !this.#localEnded
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#reading?.cancel()
    this.#writing?.cancel()
    this.#remote.close()
    syscall("close", this.#fd)
    this.#onClosed()
  }

  #read(): void {
    if (this.#closed) return
    this.#reading?.cancel()
    for (let packets = 0; packets < packetsPerTurn; packets++) {
      const count = syscall("recvfrom", this.#fd, this.#packet, maxPacketBytes, MSG_DONTWAIT, 0, 0)
      if (count === -errno.EAGAIN) break
      if (count < 0) {
        this.close()
        return
      }
      if (count === 0) {
        this.#localEnded = true
        this.#remote.end()
        this.#send()
        return
      }
      this.passedBytes += count
      if (!this.#remote.write(new Uint8Array(this.#packet.subarray(0, count)))) return
    }
    this.#reading = this.#readiness.wait(this.#fd, EPOLLIN, () => this.#read())
  }

  #send(): void {
    if (this.#closed) return
    for (let next = this.#queue[0]; next; next = this.#queue[0]) {
      const count = syscall("sendto", this.#fd, next, next.length, MSG_DONTWAIT | MSG_NOSIGNAL, 0, 0)
      if (count === -errno.EAGAIN) {
        this.#remote.pause()
        this.#writing?.cancel()
        this.#writing = this.#readiness.wait(this.#fd, EPOLLOUT, () => this.#send())
        return
      }
      if (count < 0 && count !== -errno.EMSGSIZE) {
        this.close()
        return
      }
      this.#queue.shift()
    }
    this.#remote.resume()
    if (this.#closing || (this.#ending && this.#localEnded)) this.close()
    else if (this.#ending) syscall("shutdown", this.#fd, SHUT_WR)
  }
}
