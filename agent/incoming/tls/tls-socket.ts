import type { Socket, SocketHandler, TLSOptions } from "bun"
import type { TcpEvents, TcpSocket } from "../../../core/interceptor.ts"
import { handshakeFailure } from "../../../core/tls-outcome.ts"
import { deaf } from "../deaf.ts"

/** How long either side may take for a handshake. */
export const handshakeMilliseconds = 10_000

export interface Wrapping {
  tls: TLSOptions
  /** The side that answers; the caller's first bytes have been read already. */
  asServer?: { read: Buffer }
  /** The handshake is over; an error: in vain, `onClose` of the events follows. */
  onHandshake(socket: TcpSocket, error?: Error): void
  events: TcpEvents
}

/**
 * Puts TLS around a connection. The socket it returns takes what `socket` would have been used for: until the handshake is
 * over `write` takes nothing, and `onDrain` tells when it does. Events of `socket` itself mean nothing any more.
 * @throws Error when certificate, key or authorities cannot be used; then `socket` is as it was
 */
export function wrapInTls(socket: TcpSocket, { tls, asServer, onHandshake, events }: Wrapping): TcpSocket {
  let failure: Error | undefined
  const handlers: SocketHandler<TcpEvents, "buffer"> = {
    binaryType: "buffer",
    data: (secured, bytes) => secured.data.onData(bytes),
    drain: (secured) => secured.data.onDrain(),
    end: (secured) => secured.data.onEnd(),
    close: (secured, error) => secured.data.onClose(error ?? failure),
    error: (secured) => secured.terminate(),
    handshake(secured, isGood, error) {
      failure = handshakeFailure(isGood, error, tls.rejectUnauthorized)
      onHandshake(secured, failure)
    },
  }
  const options = {
    data: events,
    tls,
    socket: handlers,
    isServer: asServer !== undefined,
    ...(asServer ? { initialData: asServer.read } : {}),
  }
  // Not in the published types: being the server, and bytes that were read before.
  const [raw, secured] = (socket as Socket<TcpEvents>).upgradeTLS<TcpEvents>(options as never)
  socket.data = deaf
  raw.data = deaf
  secured.data = events
  return secured
}
