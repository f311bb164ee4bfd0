import type { Socket, SocketHandler, TCPSocketListener, TLSOptions, TLSUpgradeOptions, UnixSocketListener } from "bun"
import { AppError, errorText } from "../errors.ts"
import type { Link } from "../link.ts"
import type { LinkLimits, Side } from "./side.ts"
import { type Carrier, StreamLink } from "./stream-link.ts"

/** Where a stream begins. A descriptor is owned by the link from then on. */
export type StreamAddress = { hostname: string; port: number } | { unix: string } | { fd: number }

/** What Bun's handlers find in `socket.data`. */
interface Attached<In, Out> {
  link?: StreamLink<In, Out>
}

/**
 * Handlers for `Bun.listen` and `Bun.connect` that make a link of every socket. Give `allowHalfOpen: true` beside them:
 * otherwise Bun closes a socket whose peer has only finished writing, and what waits for that peer is lost.
 */
export function bunSocketHandlers<In, Out>(
  side: Side<In, Out>,
  onLink: (link: Link<In, Out>, socket: Socket<Attached<In, Out>>) => void,
  options: { limits?: Partial<LinkLimits>; tls?: boolean } = {},
): SocketHandler<Attached<In, Out>> {
  const adopt = (socket: Socket<Attached<In, Out>>) => {
    socket.pause()
    socket.setNoDelay(true)
    const link = new StreamLink(carrierOf(socket), side, options.limits)
    socket.data = { link }
    onLink(link, socket)
  }
  return {
    // Without a handshake handler Bun calls `open` of a TLS socket when the handshake is over.
    open: adopt,
    data: (socket, chunk) => socket.data.link?.received(chunk),
    drain: (socket) => socket.data.link?.drained(),
    end: (socket) => socket.data.link?.peerEnded(),
    close: (socket, error) => socket.data?.link?.failed(error),
    error: (socket, error) => socket.data?.link?.failed(error),
  }
}

function carrierOf(socket: Socket<unknown>): Carrier {
  return {
    // -1 says that the socket is closed or not connected yet; in both cases nothing was taken.
    write: (chunk) => Math.max(0, socket.write(chunk)),
    pause: () => void socket.pause(),
    resume: () => void socket.resume(),
    end: () => void socket.shutdown(),
    destroy: (abortive) => void (abortive ? socket.terminate() : socket.end()),
  }
}

/** Who is the TLS server on a stream that is opened here: the peer, as usual, or this end. */
export type ConnectTls = TLSOptions | { asServer: { cert: string; key: string } }

/**
 * Opens a stream and makes a link of it. Certificates are checked as `tls` says (default: they must be valid).
 * @param options.signal gives the attempt up; a link that stands is not touched
 * @throws AppError "link-unreachable"
 */
export async function connectLink<In, Out>(
  side: Side<In, Out>,
  address: StreamAddress,
  options: { tls?: ConnectTls; limits?: Partial<LinkLimits>; signal?: AbortSignal } = {},
): Promise<Link<In, Out>> {
  const { promise, resolve, reject } = Promise.withResolvers<Link<In, Out>>()
  const { tls, signal } = options
  const handlers = bunSocketHandlers(side, resolve, { limits: options.limits })
  const failed = (error: unknown) => reject(unreachable(address, error))
  const watched: SocketHandler<Attached<In, Out>> = {
    ...handlers,
    connectError: (_socket, error) => failed(error),
    close: (socket, error) => {
      failed(error ?? "closed at once")
      return handlers.close?.(socket, error)
    },
  }
  let opened: Socket<Attached<In, Out>> | undefined
  const giveUp = () => {
    failed(signal?.reason)
    opened?.terminate()
  }
  Bun.connect({
    ...address,
    ...(tls === undefined || "asServer" in tls ? {} : { tls }),
    allowHalfOpen: true,
    data: {},
    socket: {
      ...watched,
      open: (socket) => {
        opened = socket
        if (signal?.aborted) giveUp()
        else if (tls && "asServer" in tls) secureAsServer(socket, tls.asServer, watched)
        else return watched.open?.(socket)
      },
    },
  } as Parameters<typeof Bun.connect<Attached<In, Out>>>[0]).catch(failed)
  signal?.addEventListener("abort", giveUp)
  try {
    return await promise
  } finally {
    signal?.removeEventListener("abort", giveUp)
  }
}

/** From now on `handlers` hear the secured stream. `isServer` is what `node:tls` itself uses and the types leave out. */
function secureAsServer<Data>(
  socket: Socket<Data>,
  { cert, key }: { cert: string; key: string },
  handlers: SocketHandler<Data>,
): void {
  const secured: SocketHandler<Data> = {
    ...handlers,
    // `open` would come for a handshake that failed, too.
    open: () => {},
    handshake: (socket, success, error) => {
      if (success) return handlers.open?.(socket)
      handlers.close?.(socket, error ?? undefined)
      socket.terminate()
    },
  }
  const upgrade = { isServer: true, tls: { cert, key }, data: socket.data, socket: secured }
  socket.upgradeTLS(upgrade as TLSUpgradeOptions<Data>)
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

function unreachable(address: StreamAddress, cause: unknown): AppError {
  const where =
    "unix" in address
      ? address.unix
      : "fd" in address
        ? `descriptor ${address.fd}`
        : `${address.hostname}:${address.port}`
  return new AppError("link-unreachable", `Cannot connect to ${where}: ${errorText(cause)}`, { cause })
}
