import type { AgentContext } from "../feature.ts"
import { Http1Connection } from "./http1/http1-connection.ts"
import { incomingSettings } from "./incoming-settings.ts"
import type { LiveConnections } from "./live-connections.ts"
import { MirroredConnection } from "./mirrored-connection.ts"
import { MirroredRequests } from "./mirrored-requests.ts"
import { passThrough } from "./pass-through.ts"
import type { ServeConnection } from "./ports.ts"
import { StolenConnection } from "./stolen-connection.ts"
import { tapped } from "./tap.ts"

/** What becomes of a new connection, by the subscriptions its port has at that moment. */
export function connectionRouter(context: AgentContext, live: LiveConnections): ServeConnection {
  const settings = incomingSettings(context)
  return (connection, port, diversion) => {
    const copies = port.mirrors.map(({ channel, filter }) =>
      filter
        ? new MirroredRequests(channel, connection, filter, settings)
        : new MirroredConnection(channel, connection),
    )
    const events = port.owner
      ? new StolenConnection(port.owner, connection)
      : port.filtered.length > 0
        ? new Http1Connection(connection, diversion, port, settings)
        : passThrough(diversion, connection)
    return live.track(connection.socket, tapped(events, copies))
  }
}
