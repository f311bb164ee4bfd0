import type { Diversion } from "../../core/interceptor.ts"
import type { IncomingConnection, Service } from "./connection.ts"
import { Http1Connection } from "./http1/http1-connection.ts"
import { Http2Connection } from "./http2/http2-connection.ts"
import type { IncomingSettings } from "./incoming-settings.ts"
import { Outlet } from "./outlet.ts"
import type { Port } from "./port.ts"

/** A connection on a port with filters: HTTP/1 until it turns out to be, or becomes, HTTP/2. */
export class HttpConnection implements Service {
  #served: Service

  constructor(
    connection: IncomingConnection,
    way: Pick<Diversion, "connectToApplication">,
    port: Port,
    settings: IncomingSettings,
  ) {
    const parts = { connection, way, port, settings, outlet: new Outlet(connection.socket) }
    this.#served = new Http1Connection(parts, (upgraded) => {
      const http2 = new Http2Connection(parts, upgraded)
      this.#served = http2
      return http2
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
