import type { Diversion } from "../../core/interceptor.ts"
import type { IncomingConnection, Service } from "./connection.ts"
import { Http1Connection } from "./http1/http1-connection.ts"
import { Http2Connection } from "./http2/http2-connection.ts"
import type { IncomingSettings } from "./incoming-settings.ts"
import { Outlet } from "./outlet.ts"
import { joinStanding } from "./pass-through.ts"
import type { Port } from "./port.ts"

/** A connection on a port with filters: HTTP/1 until it turns out to be, or becomes, HTTP/2 or nothing for HTTP clients. */
export class HttpConnection implements Service {
  #served: Service

  constructor(
    connection: IncomingConnection,
    way: Pick<Diversion, "connectToApplication">,
    port: Port,
    settings: IncomingSettings,
  ) {
    const parts = { connection, way, port, settings, outlet: new Outlet(connection.socket) }
    const become = <Next extends Service>(next: Next): Next => {
      this.#served = next
      return next
    }
    this.#served = new Http1Connection(parts, {
      http2: (upgraded) => become(new Http2Connection(parts, upgraded)),
      raw: (application) => become(joinStanding({ socket: connection.socket, outlet: parts.outlet }, application)),
    })
  }

  onData(bytes: Buffer): void {
    this.#served.onData(bytes)
  }

  onDrain(): void {
    this.#served.onDrain()
  }

  onEnd(): void {
    this.#served.onEnd()
  }

  finish(): void {
    this.#served.finish?.()
  }

  onClose(error?: Error): void {
    this.#served.onClose(error)
  }
}
