import type { ChunkedRequest, DaemonTcp, HttpBodyFrame, TrafficTransport } from "../protocol/index.ts"
import { requestStart } from "./features/incoming/request-delivery.ts"

/** What `podside dump` prints of a message: mirrord's lines. Empty for messages that are no traffic. */
export function trafficText(message: DaemonTcp): string {
  switch (message.kind) {
    case "NewConnectionV1":
      return connection(message.value, { kind: "Tcp" })
    case "NewConnectionV2":
      return connection(message.value.connection, message.value.transport)
    case "Data": {
      const { connectionId, bytes } = message.value
      const text = printable(bytes)
      const head = `## Connection ID ${connectionId}: ${bytes.byteLength} bytes\n`
      return text === undefined ? `${head}Data (hex): ${hex(bytes)}\n` : `${head}Data: ${text}\n`
    }
    case "Close":
      return `## Connection ID ${message.value.connectionId} closed\n`
    case "HttpRequest":
    case "HttpRequestFramed": {
      const { internalRequest, connectionId, requestId, port } = message.value
      const id = `Request ID [${connectionId}:${requestId}]`
      const { body } = internalRequest
      const frames = body instanceof Uint8Array ? [{ kind: "Data", value: body } as const] : body
      return `${head(id, { kind: "Tcp" }, `to port ${port}`, internalRequest)}${bodyText(id, frames)}## ${id} finished\n`
    }
    case "HttpRequestChunked":
      return chunk(message.value)
    default:
      return ""
  }
}

function chunk(message: ChunkedRequest): string {
  if (message.kind === "Body") {
    const { connectionId, requestId, frames, isLast } = message.value
    const id = `Request ID [${connectionId}:${requestId}]`
    return bodyText(id, frames) + (isLast ? `## ${id} finished\n` : "")
  }
  const start = requestStart(message)
  if (start) {
    const id = `Request ID [${start.connectionId}:${start.requestId}]`
    const { source, destination } = start.peer
    const way =
      message.kind === "StartV1"
        ? `to port ${start.port}`
        : `from ${source.ip}:${source.port} to ${destination.ip}:${destination.port}`
    const rest = bodyText(id, start.frames) + (start.isLast ? `## ${id} finished\n` : "")
    return head(id, start.transport, way, start.request) + rest
  }
  const { connectionId, requestId } = message.value as { connectionId: bigint; requestId: number }
  const reason = message.kind === "ErrorV2" ? `: ${message.value.errorMessage}` : ""
  return `## Request ID [${connectionId}:${requestId}] failed${reason}\n`
}

function connection(
  from: Extract<DaemonTcp, { kind: "NewConnectionV1" }>["value"],
  transport: TrafficTransport,
): string {
  const { connectionId, remoteAddress, sourcePort, localAddress, destinationPort } = from
  const way = `from ${remoteAddress}:${sourcePort} to ${localAddress}:${destinationPort}`
  return `## New ${transportText(transport, "TCP", "TLS")} connection established: Connection ID ${connectionId} ${way}\n`
}

function head(
  id: string,
  transport: TrafficTransport,
  way: string,
  request: {
    method: string
    uri: string
    version: string
    headers: ReadonlyMap<string, readonly (string | Uint8Array)[]>
  },
): string {
  const rows = [...request.headers].flatMap(([name, values]) => values.map((value) => `${name}: ${textOf(value)}\n`))
  const line = `${request.method} ${request.uri} ${request.version}\n`
  return `## New ${transportText(transport, "HTTP", "HTTPS")} request received: ${id} ${way}\n${line}${rows.join("")}\n`
}

function bodyText(id: string, frames: readonly HttpBodyFrame[]): string {
  return frames
    .map((frame) => {
      if (frame.kind === "Trailers") {
        const rows = [...frame.value].flatMap(([name, values]) => values.map((value) => `${name}: ${textOf(value)}\n`))
        return `## ${id} frame: trailers\n${rows.join("")}`
      }
      const text = printable(frame.value)
      const content = text === undefined ? `${hex(frame.value)} (hex)` : text
      return `## ${id} frame: data (${frame.value.byteLength} bytes)\n${content}\n`
    })
    .join("")
}

function transportText(transport: TrafficTransport, plain: string, secured: string): string {
  if (transport.kind === "Tcp") return plain
  const { alpnProtocol, serverName } = transport.value
  const parts = [
    ...(alpnProtocol === null ? [] : [`ALPN=${textOf(alpnProtocol)}`]),
    ...(serverName === null ? [] : [`SNI=${serverName}`]),
  ]
  return parts.length === 0 ? secured : `${secured} (${parts.join(", ")})`
}

const decoder = new TextDecoder("utf-8", { fatal: true })

/** The bytes as text; undefined when a terminal should not see them. */
function printable(bytes: Uint8Array): string | undefined {
  try {
    const text = decoder.decode(bytes)
    return /[^\P{Cc}\t\r\n]/u.test(text) ? undefined : text
  } catch {
    return undefined
  }
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex")
const textOf = (value: string | Uint8Array) =>
  typeof value === "string" ? value : Buffer.from(value).toString("latin1")
