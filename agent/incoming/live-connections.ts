import type { TcpEvents, TcpSocket } from "../../core/interceptor.ts"
import { syscall } from "../../core/linux/syscall.ts"
import type { Service } from "./connection.ts"

const SOL_TCP = 6
/** Its first byte is the state. Source: linux/tcp.h, net/tcp_states.h. */
const TCP_INFO = 11
const FIN_WAIT2 = 5

/** How long the agent's end may wait for connections on which something is going on. */
const drainMilliseconds = 3_500
/** Without a byte for so long, and with the last word spoken by the application, a connection is taken for idle. */
const idleMilliseconds = 300
const lookMilliseconds = 50

/** As the kernel waits for sockets nobody holds any more (net.ipv4.tcp_fin_timeout). */
const halfOpenMilliseconds = 60_000

interface Live {
  /** When the caller last said something. */
  heardAt: number
  socket: TcpSocket
  service: Service
  /** Bytes the caller had been sent when it last said something. */
  sentAtLastWord: number
  /** As seen by the last look of a drain. */
  sent: number
  quietSince: number
}

/** The diverted connections there are. They outlive the rules, and must not be torn when the agent ends. */
export class LiveConnections {
  readonly #live = new Map<TcpSocket, Live>()
  readonly #onCount: (by: 1 | -1) => void

  readonly #halfOpenMilliseconds: number
  #sweep: ReturnType<typeof setInterval> | undefined

  /** `patienceMilliseconds`: with callers that were told the end, and neither end themselves nor send anything. */
  constructor(onCount: (by: 1 | -1) => void, patienceMilliseconds = halfOpenMilliseconds) {
    this.#onCount = onCount
    this.#halfOpenMilliseconds = patienceMilliseconds
  }

  track(socket: TcpSocket, service: Service): TcpEvents {
    const live: Live = { socket, service, heardAt: performance.now(), sentAtLastWord: -1, sent: -1, quietSince: 0 }
    this.#live.set(socket, live)
    this.#onCount(1)
    this.#sweep ??= setInterval(() => this.#giveUpHalfOpen(), this.#halfOpenMilliseconds / 2)
    return {
      onData(bytes) {
        live.sentAtLastWord = socket.bytesWritten
        live.sent = -1
        live.heardAt = performance.now()
        service.onData(bytes)
      },
      onDrain: () => service.onDrain(),
      onEnd: () => service.onEnd(),
      onClose: (error) => {
        this.#delete(socket)
        service.onClose(error)
      },
    }
  }

  /** A tracked connection is served through another socket from now on; as `track`. */
  move(from: TcpSocket, to: TcpSocket, service: Service): TcpEvents {
    this.#delete(from)
    return this.track(to, service)
  }

  /**
   * Ends idle connections in good order and lets the others come to their end, for a while. Those that are left are cut while the
   * rules are still there, without which nothing of them would reach the application under the address it knows.
   */
  async drain(): Promise<void> {
    const deadline = performance.now() + drainMilliseconds
    for (const { service } of this.#live.values()) service.finish?.()
    while (this.#live.size > 0 && performance.now() < deadline) {
      for (const live of this.#live.values()) this.#look(live)
      await Bun.sleep(lookMilliseconds)
    }
    if (this.#live.size === 0) return
    for (const { socket } of this.#live.values()) socket.terminate()
    await Bun.sleep(lookMilliseconds)
  }

  /** Ends the connections that owe their callers nothing, as the kernel does for a process that has ended. */
  letGo(): void {
    for (const { socket, sentAtLastWord } of this.#live.values()) {
      if (socket.bytesWritten !== sentAtLastWord) socket.end()
    }
  }

  #delete(socket: TcpSocket): void {
    if (!this.#live.delete(socket)) return
    this.#onCount(-1)
    if (this.#live.size === 0) this.#stopSweeping()
  }

  #stopSweeping(): void {
    clearInterval(this.#sweep)
    this.#sweep = undefined
  }

  /** Many callers notice the end of an idle connection only when they want to use it again: until then it would hold two sockets here. */
  #giveUpHalfOpen(): void {
    const limit = performance.now() - this.#halfOpenMilliseconds
    for (const { socket, heardAt } of this.#live.values()) {
      if (heardAt < limit && stateOf(socket) === FIN_WAIT2) socket.terminate()
    }
  }

  #look(live: Live): void {
    const now = performance.now()
    const sent = live.socket.bytesWritten
    if (sent !== live.sent) {
      live.sent = sent
      live.quietSince = now
    } else if (sent !== live.sentAtLastWord && now - live.quietSince >= idleMilliseconds) live.socket.end()
  }
}

function stateOf(socket: TcpSocket): number {
  const info = new Uint8Array(1)
  const { fd } = socket as unknown as { fd: number }
  syscall("getsockopt", fd, SOL_TCP, TCP_INFO, info, new Int32Array([info.length]))
  return info[0]!
}
