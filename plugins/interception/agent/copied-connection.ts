import type { Tap } from "../../../core/interceptor.ts"
import type { Segment } from "./packet-log.ts"
import { type HeldBytes, TcpStream } from "./tcp-stream.ts"

/** What one caller sends, put together from copies of its packets. */
export class CopiedConnection {
  /** At the application. */
  readonly port: number
  readonly firstSequence: number
  /** When a packet was last seen, in seconds of the copier's clock. */
  seenAt = 0
  /** When a gap was first seen that a loss may have made, by the same clock. */
  gapSince: number | undefined
  /** Losses of the log up to which nothing of this connection is missing. */
  soundUntil: number
  over = false
  readonly #tap: Tap
  readonly #stream: TcpStream
  #told = false
  #answerEnded = false

  /** `firstSequence`: one more than the SYN's; `losses`: of the log so far. */
  constructor(tap: Tap, port: number, firstSequence: number, losses: number, held: HeldBytes) {
    this.#tap = tap
    this.port = port
    this.firstSequence = firstSequence
    this.soundUntil = losses
    this.#stream = new TcpStream(firstSequence, held)
  }

  get hasGap(): boolean {
    return this.#stream.hasGap
  }

  get wanted(): boolean {
    return !this.#tap.over
  }

  /** From the caller. `losses`: of the log before this segment. */
  take({ sequence, bytes, fin, rst, cut }: Segment, losses: number): void {
    if (rst) {
      if (this.#stream.acceptsReset(sequence)) this.close()
      return
    }
    const due = this.#stream.take(sequence, bytes, fin)
    for (const part of due) this.#tap.onData(keepable(part))
    if (due.length > 0 && !this.#stream.hasGap) this.soundUntil = losses
    if (cut) this.lose("a packet was larger than the kernel's log takes")
    else if (this.#stream.lost) this.lose("too much came behind a packet that is missing")
    else if (this.#tap.over) this.drop()
    else if (this.#stream.ended) this.#end()
  }

  /** The application sends no more. */
  endAnswer(): void {
    this.#answerEnded = true
    if (this.#stream.ended) this.close()
  }

  close(): void {
    if (this.over) return
    this.drop()
    this.#tap.onClose()
  }

  lose(reason: string): void {
    if (this.over) return
    this.drop()
    this.#tap.onLost(reason)
  }

  drop(): void {
    this.over = true
    this.#stream.drop()
  }

  #end(): void {
    if (!this.#told) this.#tap.onEnd()
    this.#told = true
    if (this.#answerEnded) this.close()
  }
}

/** A small part of a large datagram must not keep the whole of it in memory. */
function keepable(part: Uint8Array): Buffer {
  if (part.length * 2 < part.buffer.byteLength) return Buffer.from(part)
  return Buffer.from(part.buffer, part.byteOffset, part.length)
}
