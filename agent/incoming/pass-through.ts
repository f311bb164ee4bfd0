import type { Diversion, DivertedConnection, TcpEvents, TcpSocket } from "../../core/interceptor.ts"
import { Outlet } from "./outlet.ts"

/**
 * Joins a diverted connection with a new one to the application, byte by byte, half-close by half-close, each side paused while the
 * other is slow. `early` is what was read before, `earlyEnd` that the caller has already finished sending.
 * Returns who takes care of the diverted socket from now on; when nobody answers at the application, the caller is reset.
 */
export function passThrough(
  diversion: Pick<Diversion, "connectToApplication">,
  connection: DivertedConnection,
  early?: Uint8Array,
  earlyEnd = false,
): TcpEvents {
  const caller = new Side(connection.socket)
  const application = new Side(undefined)
  caller.peer = application
  application.peer = caller
  try {
    application.adopt(diversion.connectToApplication(connection, application))
  } catch {
    caller.outlet?.reset()
    return caller
  }
  if (early && early.length > 0) caller.onData(early)
  if (earlyEnd) caller.onEnd()
  return caller
}

class Side implements TcpEvents {
  peer: Side | undefined
  socket: TcpSocket | undefined
  outlet: Outlet | undefined

  constructor(socket: TcpSocket | undefined) {
    if (socket) this.adopt(socket)
  }

  adopt(socket: TcpSocket): void {
    this.socket = socket
    this.outlet = new Outlet(socket)
  }

  onData(bytes: Uint8Array): void {
    if (this.peer?.outlet && !this.peer.outlet.write(bytes)) this.socket?.pause()
  }

  onDrain(): void {
    if (this.outlet?.onDrain()) this.peer?.socket?.resume()
  }

  onEnd(): void {
    this.peer?.outlet?.end()
  }

  /** A failure is passed on as a reset. */
  onClose(error?: Error): void {
    this.outlet?.closed()
    if (error) this.peer?.outlet?.reset()
    else this.peer?.outlet?.end()
    this.peer?.socket?.resume()
    if (this.peer) this.peer.peer = undefined
    this.peer = undefined
  }
}
