import type { Endpoint } from "../../../interceptor.ts"
import type { IncomingPeer } from "../../engine.ts"
import { LocalStream } from "../../local-stream.ts"
import type { LocalTls } from "../../local-tls.ts"

const keyOf = ({ ip, port }: Endpoint) => `${ip.replace(/^::ffff:/, "")} ${port}`

/** A connection made to the program, and what the program is told about who it is from. */
export interface KnownStream {
  stream: LocalStream
  /** It is used for another caller from now on. */
  rename(peer: IncomingPeer): void
  /** For when it closes. */
  forget(): void
}

/**
 * Connections made to the program on behalf of somebody in the cluster. The program shall see that somebody, so each is
 * remembered by the port it comes from, which is known only once it stands.
 */
export class Peers {
  readonly #byLocal = new Map<string, IncomingPeer>()
  readonly #connecting = new Set<Promise<unknown>>()

  /**
   * Connects to the program; the stream is paused. The caller is known before a TLS handshake: the program asks who it is before
   * it begins one.
   */
  async connect(to: Endpoint, peer: IncomingPeer, tls?: LocalTls): Promise<KnownStream> {
    const accepted = Promise.withResolvers<void>()
    this.expect(accepted.promise)
    let key = ""
    const forget = () => void this.#byLocal.delete(key)
    try {
      const stream = await LocalStream.connect(to, tls, (address) => {
        key = keyOf(address)
        this.#byLocal.set(key, peer)
        accepted.resolve()
      })
      return { stream, rename: (next) => void this.#byLocal.set(key, next), forget }
    } catch (thrown) {
      forget()
      throw thrown
    } finally {
      accepted.resolve()
    }
  }

  /** Until `accepted`, an unknown connection may be one that is being made. */
  expect(accepted: Promise<void>): void {
    this.#connecting.add(accepted)
    void accepted.then(() => this.#connecting.delete(accepted))
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
