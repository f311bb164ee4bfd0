import type { IncomingHttpHeaders } from "node:http"
import { badRequest } from "./status.ts"

/** What a mirrord client says about itself, beside its Kubernetes identity. For display, except `certificate`. */
export interface ClientHeaders {
  version?: string
  user?: string
  hostname?: string
  /** Base64 of the DER certificate. */
  certificate?: string
}

/** Longest display text kept, in characters. */
const maxTextLength = 256

export function readClientHeaders(headers: IncomingHttpHeaders): ClientHeaders {
  return {
    version: displayText(headers["x-mirrord-cli-version"]),
    user: displayText(headers["x-client-name"]),
    hostname: displayText(headers["x-client-hostname"]),
    certificate: first(headers["x-client-der"]),
  }
}

/** The `x-session-id` header: an unsigned 64-bit decimal. Undefined when it is absent. */
export function readSessionId(headers: IncomingHttpHeaders): bigint | undefined {
  const text = first(headers["x-session-id"])
  if (text === undefined) return undefined
  if (!/^\d{1,20}$/.test(text) || BigInt(text) >= 1n << 64n)
    throw badRequest("x-session-id is not an unsigned 64-bit number")
  return BigInt(text)
}

/** Clients append headers without replacing, so one may stand twice; joined by commas by then. */
export function first(value: string | string[] | undefined): string | undefined {
  return (Array.isArray(value) ? value[0] : value)?.split(",")[0]?.trim()
}

/** Names may contain commas. */
function displayText(value: string | string[] | undefined): string | undefined {
  return (Array.isArray(value) ? value[0] : value)?.replace(/\p{Cc}/gu, "").slice(0, maxTextLength)
}
