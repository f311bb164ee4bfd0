import type { TLSOptions } from "bun"
import type { Endpoint } from "../../../interceptor.ts"
import type { IncomingPeer } from "../../engine.ts"
import { LocalStream } from "../../local-stream.ts"

const keyOf = ({ ip, port }: Endpoint) => `${ip.replace(/^::ffff:/, "")} ${port}`

/**
 * Connections made to the program on behalf of somebody in the cluster. The program shall see that somebody, so each is
 * remembered by the port it comes from, which is known only once it stands.
 */
export class Peers {
  readonly #byLocal = new Map<string, IncomingPeer>()
  readonly #connecting = new Set<Promise<unknown>>()

  /** Connects to the program; the stream is paused. `forget` on it is done when it closes: set handlers through `onClose`. */
  async connect(to: Endpoint, peer: IncomingPeer, tls?: TLSOptions): Promise<{ stream: LocalStream; forget(): void }> {
    const connecting = LocalStream.connect(to, tls).then((stream) => {
      const key = keyOf(stream.localAddress)
      this.#byLocal.set(key, peer)
      return { stream, forget: () => void this.#byLocal.delete(key) }
    })
    const settled = connecting.then(
      () => {},
      () => {},
    )
    this.#connecting.add(settled)
    try {
      return await connecting
    } finally {
      this.#connecting.delete(settled)
    }
  }

  /** A kept connection is used for another caller from now on. */
  rename(localAddress: Endpoint, peer: IncomingPeer): void {
    this.#byLocal.set(keyOf(localAddress), peer)
  }

  /** For connections made by others, such as an HTTP/2 session. */
  add(localAddress: Endpoint, peer: IncomingPeer): () => void {
    const key = keyOf(localAddress)
    this.#byLocal.set(key, peer)
    return () => void this.#byLocal.delete(key)
  }

  peerOf(localSource: Endpoint): IncomingPeer | undefined | Promise<IncomingPeer | undefined> {
    const known = this.#byLocal.get(keyOf(localSource))
    if (known || this.#connecting.size === 0) return known
    return Promise.all(this.#connecting).then(() => this.#byLocal.get(keyOf(localSource)))
  }
}
