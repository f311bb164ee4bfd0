const empty = Buffer.alloc(0)

/**
 * What a caller has sent and nobody has taken yet. A run of it may be the application's: it is gathered, so that it leaves in one
 * piece, and nothing that is gathered is looked at again.
 */
export class CallerInput {
  #bytes: Buffer = empty
  #at = 0
  /** Where the run begins. */
  #runFrom: number | undefined

  /** What to look at is there from `at` on. */
  get bytes(): Buffer {
    return this.#bytes
  }

  get at(): number {
    return this.#at
  }

  /** Nothing is left to look at. */
  get isEmpty(): boolean {
    return this.#at >= this.#bytes.length
  }

  /** How many bytes are left to look at. */
  get length(): number {
    return Math.max(0, this.#bytes.length - this.#at)
  }

  get hasRun(): boolean {
    return this.#runFrom !== undefined
  }

  append(bytes: Buffer): void {
    this.#bytes = this.#bytes.length === 0 ? bytes : Buffer.concat([this.#bytes, bytes])
  }

  /** What comes before offset `end` is part of the application's run. */
  gatherTo(end: number): void {
    this.#runFrom ??= this.#at
    this.#at = end
  }

  /** What comes before offset `end` has been taken by somebody else. */
  skipTo(end: number): void {
    this.#at = end
  }

  /** `bytes` stand where the ones before offset `end` stood. */
  replaceTo(end: number, bytes: Buffer): void {
    this.#bytes = Buffer.concat([this.#bytes.subarray(0, this.#at), bytes, this.#bytes.subarray(end)])
  }

  /** The run, if there is one; what is left to look at stays. */
  takeRun(): Buffer | undefined {
    const bytes = this.#bytes
    const from = this.#runFrom
    const end = this.#at
    this.#keep(this.isEmpty ? empty : bytes.subarray(end))
    return from === undefined ? undefined : bytes.subarray(from, end)
  }

  /** The run and all that is left. */
  takeAll(): Buffer {
    const all = this.#bytes.subarray(this.#runFrom ?? this.#at)
    this.#keep(empty)
    return all
  }

  #keep(bytes: Buffer): void {
    this.#bytes = bytes
    this.#at = 0
    this.#runFrom = undefined
  }
}
