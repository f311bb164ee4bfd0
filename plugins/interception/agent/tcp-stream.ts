/** What may wait behind a gap, per connection, in bytes: more than the largest receive window of an unchanged Linux (tcp_rmem). */
const maxHeldBytes = 8 << 20
/** What a held segment costs besides its bytes, so that tiny ones are bounded too. */
const segmentOverheadBytes = 256

/** What all streams of an agent hold behind gaps. */
export class HeldBytes {
  bytes = 0
  readonly #max: number

  /** `max`: in bytes, for all together. */
  constructor(max: number) {
    this.#max = max
  }

  get isFull(): boolean {
    return this.bytes > this.#max
  }
}

interface Held {
  /** Of its first byte, counted from the stream's first. */
  position: number
  bytes: Uint8Array
}

/**
 * One direction of a TCP connection, put together from its segments as the receiver does: whatever their order, with repeats and overlaps,
 * across the wrap of sequence numbers. What came first counts where two differ. Sources: RFC 9293 3.4 and 3.10.7.4.
 */
export class TcpStream {
  /** A gap grew past what is held for it: nothing more comes. */
  lost = false
  readonly #firstSequence: number
  #position = 0
  #endPosition: number | undefined
  /** In the order of their positions, none of them due. */
  #held: Held[] = []
  #heldBytes = 0
  readonly #all: HeldBytes

  /** `firstSequence`: of the first byte, so one more than the SYN's. `all`: shared with other streams. */
  constructor(firstSequence: number, all = new HeldBytes(maxHeldBytes)) {
    this.#firstSequence = firstSequence
    this.#all = all
  }

  /** The peer has sent its last byte and all of them were seen. */
  get ended(): boolean {
    return this.#position === this.#endPosition
  }

  /** Something came of which an earlier part is missing. */
  get hasGap(): boolean {
    return !this.ended && (this.#held.length > 0 || this.#endPosition !== undefined)
  }

  /** The bytes that are due now, in order; parts of `bytes` are not copied. `last`: the segment has the FIN flag. */
  take(sequence: number, bytes: Uint8Array, last: boolean): Uint8Array[] {
    if (this.lost || this.ended) return []
    const position = this.#positionOf(sequence)
    if (last && position + bytes.length >= this.#position) this.#endPosition ??= position + bytes.length
    if (position > this.#position) {
      this.#hold(position, bytes)
      return []
    }
    const due: Uint8Array[] = []
    this.#advance(position, bytes, due)
    this.#release(due)
    return due
  }

  /** Whether a RST with this sequence number ends the connection: only where the receiver stands, as the kernel has it (RFC 5961 3.2). */
  acceptsReset(sequence: number): boolean {
    return this.#positionOf(sequence) === this.#position
  }

  /** Nothing more is wanted. */
  drop(): void {
    this.#count(-this.#heldBytes)
    this.#held = []
  }

  /** The nearest to the due byte of those that `sequence` may mean. */
  #positionOf(sequence: number): number {
    const due = (this.#firstSequence + this.#position) | 0
    return this.#position + ((sequence - due) | 0)
  }

  #advance(position: number, bytes: Uint8Array, due: Uint8Array[]): void {
    const until = Math.min(position + bytes.length, this.#endPosition ?? Number.POSITIVE_INFINITY)
    if (until <= this.#position) return
    due.push(bytes.subarray(this.#position - position, until - position))
    this.#position = until
  }

  #hold(position: number, bytes: Uint8Array): void {
    if (bytes.length === 0) return
    this.#count(bytes.length + segmentOverheadBytes)
    if (position - this.#position > maxHeldBytes || this.#heldBytes > maxHeldBytes || this.#all.isFull) {
      this.lost = true
      this.drop()
      return
    }
    // Most segments behind a gap come in order.
    let at = this.#held.length
    while (at > 0 && this.#held[at - 1]!.position > position) at--
    this.#held.splice(at, 0, { position, bytes: Uint8Array.from(bytes) })
  }

  #release(due: Uint8Array[]): void {
    let count = 0
    for (const { position, bytes } of this.#held) {
      if (position > this.#position) break
      this.#advance(position, bytes, due)
      this.#count(-(bytes.length + segmentOverheadBytes))
      count++
    }
    if (count > 0) this.#held.splice(0, count)
  }

  #count(by: number): void {
    this.#heldBytes += by
    this.#all.bytes += by
  }
}
