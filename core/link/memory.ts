import type { Link } from "../link.ts"
import type { ClientMessage, DaemonMessage } from "../protocol/index.ts"
import { askingSide, type LinkLimits, servingSide } from "./side.ts"
import { type Carrier, StreamLink } from "./stream-link.ts"

/** Bytes one direction holds while its reader pauses. */
const pipeBytes = 64 * 1024

/** Two ends joined in memory, through the real encoding and with back-pressure; for tests and for peers in one process. */
export function linkPair(limits: Partial<LinkLimits> = {}): {
  client: Link<DaemonMessage, ClientMessage>
  agent: Link<ClientMessage, DaemonMessage>
} {
  const toAgent = new Pipe()
  const toClient = new Pipe()
  const client = new StreamLink(carrier(toClient, toAgent), askingSide, limits)
  const agent = new StreamLink(carrier(toAgent, toClient), servingSide, limits)
  toAgent.join(client, agent)
  toClient.join(agent, client)
  return { client, agent }
}

interface Reader {
  received(chunk: Uint8Array): void
  peerEnded(): void
  failed(): void
}

/** One direction: holds a bounded number of bytes and hands them on in later turns of the event loop. */
class Pipe {
  #writer!: { drained(): void }
  #reader!: Reader
  #chunks: Uint8Array[] = []
  #bytes = 0
  #refused = false
  #reading = false
  #scheduled = false
  /** Told to the reader once everything before it is read. */
  #news: "ended" | "gone" | undefined
  #readerGone = false

  join(writer: { drained(): void }, reader: Reader): void {
    this.#writer = writer
    this.#reader = reader
  }

  write(chunk: Uint8Array): number {
    if (this.#readerGone) return chunk.length
    const taken = Math.min(chunk.length, pipeBytes - this.#bytes)
    if (taken < chunk.length) this.#refused = true
    if (taken > 0) this.#chunks.push(chunk.slice(0, taken))
    this.#bytes += taken
    this.#schedule()
    return taken
  }

  read(reading: boolean): void {
    this.#reading = reading
    this.#schedule()
  }

  end(news: "ended" | "gone"): void {
    this.#news = news
    this.#schedule()
  }

  stopReading(): void {
    this.#readerGone = true
    this.#chunks = []
    this.#bytes = 0
  }

  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      this.#move()
    })
  }

  #move(): void {
    while (this.#reading && this.#chunks.length > 0) {
      const chunk = this.#chunks.shift()!
      this.#bytes -= chunk.length
      this.#reader.received(chunk)
    }
    if (this.#refused && this.#bytes < pipeBytes) {
      this.#refused = false
      this.#writer.drained()
    }
    if (this.#news !== undefined && this.#bytes === 0) this.#tell(this.#news)
  }

  #tell(news: "ended" | "gone"): void {
    this.#news = undefined
    if (news === "ended") this.#reader.peerEnded()
    else this.#reader.failed()
  }
}

function carrier(from: Pipe, to: Pipe): Carrier {
  return {
    write: (chunk) => to.write(chunk),
    pause: () => from.read(false),
    resume: () => from.read(true),
    end: () => to.end("ended"),
    destroy() {
      from.stopReading()
      to.end("gone")
    },
  }
}
