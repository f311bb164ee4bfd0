import type { HttpFilter } from "./protocol/index.ts"
import type { Target } from "./target.ts"

/** Who asks, as Kubernetes sees them. Built once at the operator's front door, passed on unchanged. */
export interface Identity {
  user: string
  uid?: string
  groups: readonly string[]
  extra: Readonly<Record<string, readonly string[]>>
}

export interface SessionRequest {
  identity: Identity
  target: Target
  /** Namespace of the target. */
  namespace: string
  /** Labels of the object that was named, workload or pod, as its caller saw it; none for what names no object, and at the client. */
  labels: Readonly<Record<string, string>>
  /** Of the same object. */
  targetUid?: string
  /** `name` of a MirrordClusterProfile or `namespace/name` of a MirrordProfile, which the client says it has applied. */
  profile?: string
  /** Branch, user and host names as the client states them; for display, never for decisions. */
  client: { user?: string; hostname?: string; version?: string; branch?: string }
}

export interface Session extends SessionRequest {
  /** Upper-case hexadecimal of the client's 64-bit number. Not a secret. */
  id: string
  openedAt: Date
}

/** A pod a session works on, with the owners found above it, nearest first. */
export interface ResolvedPod {
  name: string
  namespace: string
  labels: Readonly<Record<string, string>>
  owners: readonly { kind: string; name: string }[]
}

export interface SubscriptionRequest {
  session: Session
  mode: "mirror" | "steal"
  port: number
  /** Absent when the whole port is meant. */
  filter?: HttpFilter
  /** Of the target, at this moment. When others come it is asked again, with all there are then; a denial leaves those out. */
  pods: readonly ResolvedPod[]
}

export interface FileAccess {
  session: Session
  /** Absolute, without dots; links are not followed. */
  path: string
  access: "read" | "write"
  /** The file is opened; else its metadata or its name is looked at or changed. */
  opens: boolean
}

export interface OutgoingRequest {
  session: Session
  protocol: "tcp" | "udp" | "unix" | "dns"
  /** IP address, host name (for `dns`) or socket path (for `unix`). */
  host: string
  /** Names this client has looked up and been told that address for, latest last, in small letters; empty for `dns` and `unix`. */
  names: readonly string[]
  /** Absent for `dns` and `unix`. */
  port?: number
}

export interface AuditEvent {
  kind: "session-started" | "session-denied" | "session-killed" | "session-ended" | "request-denied"
  at: Date
  identity: Identity
  /** "deployment/api/container/app", with the namespace beside it. */
  target: string
  /** Of the object that was named, once its caller was shown it. */
  targetUid?: string
  namespace: string
  sessionId?: string
  mode?: "mirror" | "steal"
  ports?: readonly number[]
  reason?: string
  /** Who denied, and the object behind it where the plugin named one. */
  plugin?: string
  policy?: string
}
