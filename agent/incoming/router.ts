import type { Diversion, Tap } from "../../core/interceptor.ts"
import type { AgentContext } from "../feature.ts"
import type { ClientChannel } from "./client-channel.ts"
import { type IncomingConnection, plainTransport, type ReadableRoute, type Service } from "./connection.ts"
import { HttpConnection } from "./http-connection.ts"
import { type IncomingSettings, incomingSettings } from "./incoming-settings.ts"
import type { LiveConnections } from "./live-connections.ts"
import { MirroredConnection } from "./mirrored-connection.ts"
import { MirroredRequests } from "./mirrored-requests.ts"
import { passThrough } from "./pass-through.ts"
import type { Port } from "./port.ts"
import type { ConnectionRouter } from "./ports.ts"
import type { LiveKeys } from "./share-link/live-keys.ts"
import { StolenConnection } from "./stolen-connection.ts"
import { tapped, together } from "./tap.ts"
import { TlsArrival } from "./tls/tls-arrival.ts"
import { TlsPorts } from "./tls/tls-ports.ts"

type Way = Pick<Diversion, "connectToApplication">

/** What becomes of a new connection, by the subscriptions its port has at that moment. */
export function connectionRouter(context: AgentContext, live: LiveConnections, shareLinks: LiveKeys): ConnectionRouter {
  const settings = incomingSettings(context, shareLinks)
  const tlsPorts = new TlsPorts(context)
  const serve: ConnectionRouter["serve"] = (connection, port, diversion) => {
    const { socket } = connection
    const tls = tlsPorts.at(port.number)
    if (!tls || port.unused) {
      return live.track(socket, route({ ...connection, transport: plainTransport }, port, diversion, settings))
    }
    const arrival = new TlsArrival(connection, {
      port,
      tls,
      diversion,
      detectionMilliseconds: settings.detectionMilliseconds,
      log: context.log,
      route: (readable, way) => route(readable, port, way, settings),
      moveTo: (secured, events) => live.move(socket, secured, events),
    })
    return live.track(socket, arrival)
  }
  return {
    serve,
    // What is inside TLS only who ends it can see.
    mayCopy: (number) => !tlsPorts.at(number),
    copy: (between, port) => together(tapsOf({ ...between, transport: plainTransport }, port, settings)),
  }
}

function route(connection: IncomingConnection, port: Port, way: Way, settings: IncomingSettings): Service {
  const taps = tapsOf(connection, port, settings)
  return tapped(serve(connection, port, way, settings), taps)
}

function tapsOf(connection: ReadableRoute, port: Port, settings: IncomingSettings): Tap[] {
  const mirrors = port.mirrors.filter(({ channel }) => understands(channel, connection))
  return mirrors.map(({ channel, filter }) =>
    filter ? new MirroredRequests(channel, connection, filter, settings) : new MirroredConnection(channel, connection),
  )
}

function serve(connection: IncomingConnection, port: Port, way: Way, settings: IncomingSettings): Service {
  if (port.owner) {
    if (understands(port.owner, connection)) return new StolenConnection(port.owner, connection)
  } else if (port.filtered.length > 0 && mayBeHttp(connection)) {
    return new HttpConnection(connection, way, port, settings)
  }
  return passThrough(way, connection)
}

/** A client that cannot be told about TLS would take what is inside for the whole. */
function understands({ client }: ClientChannel, { transport, destination }: ReadableRoute): boolean {
  if (transport.kind === "Tcp" || client.supports("modeAgnosticHttp")) return true
  client.tell("Error", `a TLS connection to port ${destination.port} was passed on: the client is too old for it`)
  return false
}

/** With ALPN a caller says what it speaks. */
function mayBeHttp({ transport }: IncomingConnection): boolean {
  if (transport.kind === "Tcp" || !transport.value.alpnProtocol) return true
  return ["h2", "http/1.1", "http/1.0"].includes(new TextDecoder().decode(transport.value.alpnProtocol))
}
