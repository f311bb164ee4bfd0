import { randomBytes } from "node:crypto"
import { resources } from "../../kube/resources.ts"
import type { AuditEvent } from "../../session.ts"
import { parseTarget, type Target } from "../../target.ts"

const reasons: Record<AuditEvent["kind"], [reason: string, type: "Normal" | "Warning"]> = {
  "session-started": ["SessionStarted", "Normal"],
  "session-denied": ["SessionDenied", "Warning"],
  "session-killed": ["SessionKilled", "Normal"],
  "session-ended": ["SessionEnded", "Normal"],
  "request-denied": ["RequestDenied", "Warning"],
}

/** Longest text the API server accepts in an Event's message. */
const maxMessageLength = 1024

/** A core/v1 Event about the workload the session works on. */
export function kubeEvent(event: AuditEvent, replica: string) {
  const [reason, type] = reasons[event.kind]
  const about = { namespace: event.namespace, ...involved(event) }
  return coreEvent({ namespace: event.namespace, about, reason, type, message: message(event), at: event.at, replica })
}

export interface EventParts {
  namespace: string
  about: { apiVersion: string; kind: string; name: string; namespace?: string; uid?: string }
  reason: string
  type: "Normal" | "Warning"
  message: string
  at: Date
  replica: string
}

export function coreEvent({ namespace, about, reason, type, message, at: date, replica }: EventParts) {
  const at = date.toISOString()
  return {
    apiVersion: "v1",
    kind: "Event",
    metadata: { name: `podside-${randomBytes(8).toString("hex")}`, namespace },
    involvedObject: about,
    reason,
    type,
    message: message.slice(0, maxMessageLength),
    source: { component: "podside-operator", host: replica },
    reportingComponent: "podside-operator",
    reportingInstance: replica,
    action: reason,
    firstTimestamp: at,
    lastTimestamp: at,
    eventTime: null,
    count: 1,
  }
}

/** `kubectl describe` shows the Events that have the uid of what it describes. */
function involved({ target: text, targetUid: uid, namespace }: AuditEvent) {
  const target = parsed(text)
  if (target.kind === "targetless" || target.kind === "label")
    return { apiVersion: "v1", kind: "Namespace", name: namespace }
  const { group, version, kind } = resources[target.kind]
  return { apiVersion: group === "" ? version : `${group}/${version}`, kind, name: target.name, uid }
}

function parsed(text: string): Target {
  try {
    return parseTarget(text)
  } catch {
    return { kind: "targetless" }
  }
}

function message({ identity, target, sessionId, mode, ports, reason, policy }: AuditEvent): string {
  const parts = [
    `user ${identity.user}`,
    `target ${target}`,
    sessionId && `session ${sessionId}`,
    mode && `${mode}${ports?.length ? ` ports ${ports.join(", ")}` : ""}`,
    policy && `policy ${policy}`,
    reason,
  ]
  return parts.filter(Boolean).join("; ")
}
