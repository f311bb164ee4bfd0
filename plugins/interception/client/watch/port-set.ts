/** One bit for each port. */
export const portSetBytes = (1 << 16) / 8

/** Ports of the loopback, in memory that both threads see. */
export class PortSet {
  readonly #words: Int32Array
  constructor(memory: SharedArrayBuffer, offset: number) {
    this.#words = new Int32Array(memory, offset, portSetBytes / 4)
  }
  add(port: number): void {
    Atomics.or(this.#words, port >> 5, 1 << (port & 31))
  }
  has(port: number): boolean {
    return (Atomics.load(this.#words, port >> 5) & (1 << (port & 31))) !== 0
  }
}
