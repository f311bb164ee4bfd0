import type { TcpEvents, TcpSocket } from "../../core/interceptor.ts"

/** How long the agent's end may wait for connections on which something is going on. */
const drainMilliseconds = 3_500
/** Without a byte for so long, and with the last word spoken by the application, a connection is taken for idle. */
const idleMilliseconds = 300
const lookMilliseconds = 50

interface Live {
  socket: TcpSocket
  /** Bytes the caller had been sent when it last said something. */
  sentAtLastWord: number
  /** As seen by the last look of a drain. */
  sent: number
  quietSince: number
}

/** The diverted connections there are. They outlive the rules, and must not be torn when the agent ends. */
export class LiveConnections {
  readonly #live = new Set<Live>()
  readonly #onCount: (by: 1 | -1) => void

  constructor(onCount: (by: 1 | -1) => void) {
    this.#onCount = onCount
  }

  track(socket: TcpSocket, events: TcpEvents): TcpEvents {
    const live: Live = { socket, sentAtLastWord: -1, sent: -1, quietSince: 0 }
    this.#live.add(live)
    this.#onCount(1)
    return {
      onData(bytes) {
        live.sentAtLastWord = socket.bytesWritten
        live.sent = -1
        events.onData(bytes)
      },
      onDrain: () => events.onDrain(),
      onEnd: () => events.onEnd(),
      onClose: (error) => {
        this.#live.delete(live)
        this.#onCount(-1)
        events.onClose(error)
      },
    }
  }

  /** Ends idle connections in good order and lets the others come to their end, for a while. */
  async drain(): Promise<void> {
    const deadline = performance.now() + drainMilliseconds
    while (this.#live.size > 0 && performance.now() < deadline) {
      for (const live of this.#live) this.#look(live)
      await Bun.sleep(lookMilliseconds)
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
