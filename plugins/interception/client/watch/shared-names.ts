import type { Endpoint } from "../../../../core/interceptor.ts"
import { fitting } from "../kernel/socket-info.ts"

/*
 * A table of slots; a socket's slot is its inode modulo their number, and newer ones push out older ones.
 * One slot: stamp u32 (0: nothing there), inode u32, length of both addresses u32, then the peer's and the own sockaddr.
 */
const slotBytes = 72
const addressBytes = 28
const peerAt = 12
const ownAt = peerAt + addressBytes
const slots = 1 << 14

/** Memory for `SharedNames`; the kernel only provides what is used of it. */
export const sharedNamesBytes = slots * slotBytes

/** What a connection of the program is called in the pod. */
export interface SharedName {
  peer: Endpoint
  own: Endpoint
}

/**
 * Names of connected sockets, by the inode of the program's socket (a number of its own for every socket there is). The answering thread
 * writes, the watching thread reads: an entry whose stamp changed meanwhile counts as none.
 */
export class SharedNames {
  readonly #words: Int32Array
  readonly #bytes: Uint8Array
  #stamp = 0

  constructor(memory: SharedArrayBuffer, offset: number) {
    this.#words = new Int32Array(memory, offset, sharedNamesBytes / 4)
    this.#bytes = new Uint8Array(memory, offset, sharedNamesBytes)
  }

  /** `family` of the socket. */
  set(inode: number, family: number, { peer, own }: SharedName): void {
    this.setAddresses(inode, fitting(family, peer), fitting(family, own))
  }

  /** As `set`, with both names as the program is to see them. */
  setAddresses(inode: number, peer: Uint8Array, own: Uint8Array): void {
    const at = slotOf(inode)
    Atomics.store(this.#words, at / 4, 0)
    this.#words[at / 4 + 1] = inode | 0
    this.#words[at / 4 + 2] = peer.length
    this.#bytes.set(peer, at + peerAt)
    this.#bytes.set(own, at + ownAt)
    this.#stamp = (this.#stamp + 1) & 0x7fff_ffff || 1
    Atomics.store(this.#words, at / 4, this.#stamp)
  }

  remove(inode: number): void {
    const at = slotOf(inode)
    if (this.#words[at / 4 + 1] === (inode | 0)) Atomics.store(this.#words, at / 4, 0)
  }

  /** The sockaddr for the program; undefined when nothing is known. */
  get(inode: number, which: "peer" | "own"): Uint8Array | undefined {
    const at = slotOf(inode)
    const stamp = Atomics.load(this.#words, at / 4)
    if (stamp === 0 || this.#words[at / 4 + 1] !== (inode | 0)) return undefined
    const from = at + (which === "peer" ? peerAt : ownAt)
    const address = new Uint8Array(new ArrayBuffer(addressBytes))
    address.set(this.#bytes.subarray(from, from + addressBytes))
    const length = this.#words[at / 4 + 2]!
    return Atomics.load(this.#words, at / 4) === stamp ? address.subarray(0, length) : undefined
  }
}

function slotOf(inode: number): number {
  return (inode % slots) * slotBytes
}
