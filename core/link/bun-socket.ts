import type { Socket, SocketHandler, TCPSocketListener, TLSOptions, UnixSocketListener } from "bun"
import type { Link } from "../link.ts"
import type { LinkLimits, Side } from "./side.ts"
import { type Carrier, StreamLink } from "./stream-link.ts"

/** Where a stream begins. A descriptor is owned by the link from then on. */
export type StreamAddress = { hostname: string; port: number } | { unix: string } | { fd: number }

/** What Bun's handlers find in `socket.data`. They are the same for all sockets: closures of each would outweigh a quiet link. */
export interface Attached<In, Out> {
  link?: StreamLink<In, Out>
  /** While the connection is being made. */
  attempt?: { fail(error: unknown): void }
}

export const streaming: SocketHandler<Attached<never, unknown>> = {
  data: (socket, chunk) => socket.data.link?.received(chunk),
  drain: (socket) => socket.data.link?.drained(),
  end: (socket) => socket.data.link?.peerEnded(),
  close: (socket, error) => ended(socket, error),
  error: (socket, error) => ended(socket, error),
}

function ended(socket: Socket<Attached<never, unknown>>, error: Error | undefined): void {
  socket.data?.attempt?.fail(error ?? "closed at once")
  socket.data?.link?.failed(error)
}

/**
 * Handlers for `Bun.listen` and `Bun.connect` that make a link of every socket. Give `allowHalfOpen: true` beside them:
 * otherwise Bun closes a socket whose peer has only finished writing, and what waits for that peer is lost.
 */
export function bunSocketHandlers<In, Out>(
  side: Side<In, Out>,
  onLink: (link: Link<In, Out>, socket: Socket<Attached<In, Out>>) => void,
  options: { limits?: Partial<LinkLimits> } = {},
): SocketHandler<Attached<In, Out>> {
  return {
    ...(streaming as unknown as SocketHandler<Attached<In, Out>>),
    // Without a handshake handler Bun calls `open` of a TLS socket when the handshake is over.
    open: (socket) => onLink(adopt(socket, side, options.limits), socket),
  }
}

export function adopt<In, Out>(
  socket: Socket<Attached<In, Out>>,
  side: Side<In, Out>,
  limits: Partial<LinkLimits> | undefined,
): Link<In, Out> {
  socket.pause()
  socket.setNoDelay(true)
  const link = new StreamLink(new BunCarrier(socket), side, limits)
  socket.data = { link }
  return link
}

class BunCarrier implements Carrier {
  readonly keepsNothing = true
  readonly #socket: Socket<unknown>

  constructor(socket: Socket<unknown>) {
    this.#socket = socket
  }

  write(chunk: Uint8Array): number {
    // -1 says that the socket is closed or not connected yet; in both cases nothing was taken.
    return Math.max(0, this.#socket.write(chunk))
  }

  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  end(): void {
    this.#socket.shutdown()
  }

  destroy(abortive: boolean): void {
    if (abortive) this.#socket.terminate()
    else this.#socket.end()
  }
}

/** A listener whose every accepted stream becomes a link. `Bun.listen` runs before this returns. @throws what `Bun.listen` throws */
export function listenLinks<In, Out>(
  side: Side<In, Out>,
  address: StreamAddress,
  onLink: (link: Link<In, Out>) => void,
  options: { tls?: TLSOptions; limits?: Partial<LinkLimits> } = {},
): TCPSocketListener<unknown> | UnixSocketListener<unknown> {
  return Bun.listen({
    ...address,
    ...(options.tls === undefined ? {} : { tls: options.tls }),
    allowHalfOpen: true,
    data: {},
    socket: bunSocketHandlers(side, onLink, { limits: options.limits }),
  } as never)
}
