import type { Diversion } from "../../core/interceptor.ts"
import type { IncomingConnection } from "./connection.ts"
import type { IncomingSettings } from "./incoming-settings.ts"
import type { Outlet } from "./outlet.ts"
import type { Port } from "./port.ts"

/** What serving the requests of one connection takes. */
export interface HttpParts {
  connection: IncomingConnection
  way: Pick<Diversion, "connectToApplication">
  port: Port
  settings: IncomingSettings
  /** Towards the caller. */
  outlet: Outlet
}
