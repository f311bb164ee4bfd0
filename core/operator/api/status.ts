import { AppError } from "../../errors.ts"
import type { Denied } from "../../host.ts"
import { KubeError } from "../../kube/errors.ts"

/** A Kubernetes Status: every answer that is not an object is one, complete, or clients cannot show it. */
export interface Status {
  kind: "Status"
  apiVersion: "v1"
  metadata: Record<string, never>
  status: "Success" | "Failure"
  message: string
  reason: string
  code: number
  details?: unknown
}

/** An answer other than success; thrown anywhere behind the front door. */
export class StatusError extends Error {
  override readonly name = "StatusError"
  readonly code: number
  readonly reason: string
  /** Seconds a client should wait; sent as `Retry-After`. */
  readonly retryAfterSeconds: number | undefined
  /** The plugin that refused, and the object behind it. */
  denial: { plugin: string; policy?: string } | undefined

  constructor(code: number, reason: string, message: string, retryAfterSeconds?: number) {
    super(message)
    this.code = code
    this.reason = reason
    this.retryAfterSeconds = retryAfterSeconds
  }
}

export const unauthorized = (message: string) => new StatusError(401, "Unauthorized", message)
export const forbidden = (message: string) => new StatusError(403, "Forbidden", message)
/** A plugin's denial, in its words. */
export function denied({ plugin, policy, reason }: Denied): StatusError {
  const refusal = forbidden(policy === undefined ? reason : `Forbidden by policy "${policy}": ${reason}`)
  refusal.denial = { plugin, policy }
  return refusal
}
export const badRequest = (message: string) => new StatusError(400, "BadRequest", message)
export const notFound = (message: string) => new StatusError(404, "NotFound", message)
export const methodNotAllowed = (message: string) => new StatusError(405, "MethodNotAllowed", message)
export const conflict = (message: string) => new StatusError(409, "Conflict", message)
/** What was seen last is so long ago that what has changed since cannot be told: clients list again. */
export const expired = (message: string) => new StatusError(410, "Expired", message)
export const tooMany = (message: string, retryAfterSeconds: number) =>
  new StatusError(429, "TooManyRequests", message, retryAfterSeconds)
export const unavailable = (message: string, retryAfterSeconds = 1) =>
  new StatusError(503, "ServiceUnavailable", message, retryAfterSeconds)
/** The session is closed for good: mirrord's proxy stops reconnecting on exactly this. */
export const gone = (message: string) => new StatusError(410, "ReconnectNotPossible", message)

/** What faults become at the edge; a code that is not here is the operator's own fault. */
const statusOf: Record<string, [code: number, reason: string]> = {
  "bad-target": [400, "BadRequest"],
  "bad-request": [400, "BadRequest"],
  "bad-signing-request": [400, "BadRequest"],
  "bad-user-certificate": [401, "Unauthorized"],
  "kube-unauthorized": [403, "Forbidden"],
  "kube-forbidden": [403, "Forbidden"],
  "target-not-found": [404, "NotFound"],
  "container-not-found": [404, "NotFound"],
  "target-not-ready": [409, "Conflict"],
  "kube-unreachable": [503, "ServiceUnavailable"],
  "kube-timeout": [503, "ServiceUnavailable"],
  "agent-not-started": [500, "InternalError"],
}

/** Any thrown thing as the answer a client gets. Texts of unknown faults stay inside. */
export function toStatusError(thrown: unknown): StatusError {
  if (thrown instanceof StatusError) return thrown
  if (!(thrown instanceof AppError)) return new StatusError(500, "InternalError", "The operator failed unexpectedly")
  const [code, reason] = isPassing(thrown) ? busy : (statusOf[thrown.code] ?? [500, "InternalError"])
  const message = thrown.next ? `${thrown.message}. ${thrown.next}` : thrown.message
  return new StatusError(code, reason, message, code === 503 ? 1 : undefined)
}

/** Clients try again after it by themselves. */
const busy = [503, "ServiceUnavailable"] as const

/** The API server has too much to do, or does not reach its storage. */
function isPassing(thrown: AppError): boolean {
  return thrown instanceof KubeError && [429, 503, 504].includes(thrown.status)
}

export function failure({ code, reason, message }: StatusError): Status {
  return { kind: "Status", apiVersion: "v1", metadata: {}, status: "Failure", message, reason, code }
}

export function success(message: string, code = 200): Status {
  return { kind: "Status", apiVersion: "v1", metadata: {}, status: "Success", message, reason: "", code }
}

export function failureHeaders({ retryAfterSeconds }: StatusError): Record<string, string> {
  return {
    "content-type": "application/json",
    ...(retryAfterSeconds === undefined ? {} : { "retry-after": String(retryAfterSeconds) }),
  }
}
