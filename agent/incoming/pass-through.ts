import type { Diversion, DivertedConnection, TcpEvents, TcpSocket } from "../../core/interceptor.ts"
import { Outlet } from "./outlet.ts"

/** One end of a connection, and what waits to be sent to it. */
export interface End {
  socket: TcpSocket
  outlet: Outlet
}

/**
 * Joins a diverted connection with a new one to the application, byte by byte, half-close by half-close, each side paused while the
 * other is slow. Returns who takes care of the diverted socket from now on; when nobody answers at the application, the caller is reset.
 */
export function passThrough(
  diversion: Pick<Diversion, "connectToApplication">,
  connection: DivertedConnection,
): TcpEvents {
  const { caller, application } = pair(endOf(connection.socket))
  try {
    application.end = endOf(diversion.connectToApplication(connection, application))
  } catch {
    caller.end?.outlet.reset()
  }
  return caller
}

/** Goes on like that with two connections that stand, whatever waits on them; also takes over the application's socket. */
export function joinStanding(caller: End, application: End): TcpEvents {
  const sides = pair(caller, application)
  application.socket.data = sides.application
  return sides.caller
}

const endOf = (socket: TcpSocket): End => ({ socket, outlet: new Outlet(socket) })

function pair(callerEnd: End, applicationEnd?: End): { caller: Side; application: Side } {
  const caller = new Side(callerEnd)
  const application = new Side(applicationEnd)
  caller.peer = application
  application.peer = caller
  return { caller, application }
}

class Side implements TcpEvents {
  peer: Side | undefined
  end: End | undefined

  constructor(end: End | undefined) {
    this.end = end
  }

  onData(bytes: Uint8Array): void {
    if (this.peer?.end && !this.peer.end.outlet.write(bytes)) this.end?.socket.pause()
  }

  onDrain(): void {
    if (this.end?.outlet.onDrain()) this.peer?.end?.socket.resume()
  }

  onEnd(): void {
    this.peer?.end?.outlet.end()
  }

  /** A failure is passed on as a reset. */
  onClose(error?: Error): void {
    this.end?.outlet.closed()
    const peer = this.peer
    if (error) peer?.end?.outlet.reset()
    else peer?.end?.outlet.end()
    peer?.end?.socket.resume()
    if (peer) peer.peer = undefined
    this.peer = undefined
  }
}
