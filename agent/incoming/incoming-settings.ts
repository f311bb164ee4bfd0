import { Allowance } from "../allowance.ts"
import type { AgentContext } from "../feature.ts"
import type { ResponseMarks } from "./http1/response-head.ts"
import type { LiveKeys } from "./share-link/live-keys.ts"

/** What callers may send while it is not clear whose their requests are, beyond what the application takes, in bytes. */
const maxLentBytes = 16 << 20

/** The agent's settings as the connections need them. */
export interface IncomingSettings {
  /** How long a connection on which nothing readable arrives may stay undecided. */
  detectionMilliseconds: number
  maxBodyBytes: number
  maxBodyMilliseconds: number
  marks: ResponseMarks
  shareLinks: LiveKeys
  /** Of all HTTP/2 connections together. */
  lending: Allowance
  /** Requests on their way to the application and back: more, fewer. */
  onBypassed(port: number, by: number): void
  /** Requests in the hands of clients: one more, one less. */
  onClaimed(by: 1 | -1): void
}

export function incomingSettings({ settings, metrics }: AgentContext, shareLinks: LiveKeys): IncomingSettings {
  return {
    detectionMilliseconds: settings.httpDetectionTimeoutSeconds * 1000,
    maxBodyBytes: settings.maxBodyBufferBytes,
    maxBodyMilliseconds: settings.maxBodyBufferMilliseconds,
    marks: { inject: settings.injectHeaders, overrideCacheControl: settings.overrideCacheControl },
    shareLinks,
    lending: new Allowance(maxLentBytes),
    onBypassed: (port, by) => metrics.addBypassed(port, by),
    onClaimed: (by) => metrics.add("mirrord_agent_redirected_requests_count", by),
  }
}
