import type { Endpoint } from "../../../core/interceptor.ts"
import { decodeEndpoint, encodeEndpoint } from "../../../core/linux/socket-address.ts"

/*
 * One entry per local port: stamp u32 (0: no entry), port of our end u32, then two sockaddr of `addressBytes`.
 */
const entryBytes = 64
const addressBytes = 28
const peerAt = 8
const ownAt = peerAt + addressBytes
const ports = 1 << 16

/** Memory for `SharedNames`; the kernel only provides what is used of it. */
export const sharedNamesBytes = ports * entryBytes

/** What a connection of the program is called in the pod. */
export interface SharedName {
  peer: Endpoint
  own: Endpoint
}

/**
 * Names of established TCP connections, by the program's port on the loopback. The answering thread writes, the watching
 * thread reads: an entry whose stamp changed meanwhile counts as none.
 */
export class SharedNames {
  readonly #words: Int32Array
  readonly #bytes: Uint8Array
  #stamp = 0

  constructor(memory: SharedArrayBuffer, offset: number) {
    this.#words = new Int32Array(memory, offset, sharedNamesBytes / 4)
    this.#bytes = new Uint8Array(memory, offset, sharedNamesBytes)
  }

  /** `joint` is the port of our end, which tells this connection from others that use the same port of the program. */
  set(port: number, joint: number, { peer, own }: SharedName): void {
    const at = port * entryBytes
    this.remove(port)
    Atomics.store(this.#words, at / 4 + 1, joint)
    this.#bytes.set(encodeEndpoint(peer), at + peerAt)
    this.#bytes.set(encodeEndpoint(own), at + ownAt)
    this.#stamp = (this.#stamp + 1) & 0x7fff_ffff || 1
    Atomics.store(this.#words, at / 4, this.#stamp)
  }

  remove(port: number): void {
    Atomics.store(this.#words, (port * entryBytes) / 4, 0)
  }

  get(port: number, joint: number): SharedName | undefined {
    const at = port * entryBytes
    const stamp = Atomics.load(this.#words, at / 4)
    if (stamp === 0 || Atomics.load(this.#words, at / 4 + 1) !== joint) return undefined
    const copy = Buffer.from(this.#bytes.slice(at + peerAt, at + peerAt + 2 * addressBytes))
    if (Atomics.load(this.#words, at / 4) !== stamp) return undefined
    const peer = decodeEndpoint(copy.subarray(0, addressBytes))
    const own = decodeEndpoint(copy.subarray(addressBytes))
    return peer && own && { peer, own }
  }
}
