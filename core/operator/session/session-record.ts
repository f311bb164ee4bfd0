import * as v from "valibot"
import type { Session } from "../../session.ts"
import { formatTarget, parseTarget } from "../../target.ts"
import { type Lease, microTime } from "../replicas/lease.ts"
import type { RecordContent } from "../replicas/records.ts"
import { replicaLeaseSeconds } from "../replicas/replicas.ts"
import { noPorts, type SessionFacts, type UsedPorts } from "./live-session.ts"

/** A session as all replicas know it. */
export interface SessionRecord extends SessionFacts {
  /** Replicas that have sockets of it; some may be dead. */
  replicas: readonly string[]
  closed?: { why: string }
}

const annotation = "podside.dev/session"
const text = v.optional(v.string())

const schema = v.object({
  number: v.pipe(
    v.string(),
    v.regex(/^\d{1,20}$/),
    v.transform((digits) => BigInt(digits)),
  ),
  user: v.string(),
  uid: text,
  groups: v.array(v.string()),
  target: v.string(),
  namespace: v.string(),
  // Records of an operator that did not know of them have none.
  labels: v.optional(v.record(v.string(), v.string()), {}),
  targetUid: text,
  profile: text,
  client: v.object({ user: text, hostname: text, version: text, branch: text }),
  openedAt: v.pipe(v.string(), v.isoTimestamp()),
  userId: v.string(),
  key: text,
  headerFilter: text,
  ci: v.boolean(),
  ports: v.optional(v.object({ mirror: v.array(v.number()), steal: v.array(v.number()) })),
  replicas: v.array(v.string()),
  closed: v.optional(v.object({ why: v.string() })),
})

const namePrefix = "podside-session-"

export const sessionRecordName = (number: bigint): string => `${namePrefix}${number.toString(16)}`

/** Undefined for a name that is no session's. */
export function sessionOfRecord(name: string): bigint | undefined {
  const digits = name.startsWith(namePrefix) ? name.slice(namePrefix.length) : ""
  return /^[0-9a-f]{1,16}$/.test(digits) ? BigInt(`0x${digits}`) : undefined
}

/**
 * The session's own uid, made from its record's (a UUID of version 4 becomes one of version 8, RFC 9562). Kubernetes' garbage
 * collector knows objects by uid alone: with the record's it took one for the other, and forgot whose the record is.
 */
export const sessionUid = ({ metadata: { uid = "" } }: Lease): string => uid.replace(/^(.{14})4/, "$18")

/** @throws ValiError, SyntaxError, AppError "bad-target" for a Lease somebody else has written */
export function readSessionRecord({ metadata }: Lease): SessionRecord {
  const read = v.parse(schema, JSON.parse(metadata.annotations?.[annotation] ?? ""))
  const { number, user, uid, groups, target, namespace, labels, targetUid, profile, client, openedAt, ...rest } = read
  const info: Session = {
    id: number.toString(16).toUpperCase(),
    // Extra fields are not kept: they may name credentials, and nothing is asked in the name of a record.
    identity: { user, uid, groups, extra: {} },
    target: parseTarget(target),
    namespace,
    labels,
    targetUid,
    profile,
    client,
    openedAt: new Date(openedAt),
  }
  return { ...rest, key: rest.key, headerFilter: rest.headerFilter, ports: rest.ports ?? noPorts, info, number }
}

export function sessionRecordContent(record: SessionRecord): RecordContent {
  const { info, number, userId, key, headerFilter, ci, ports, replicas, closed } = record
  const { identity, target, namespace, labels, targetUid, profile, client, openedAt } = info
  const state: v.InferInput<typeof schema> = {
    number: String(number),
    user: identity.user,
    uid: identity.uid,
    groups: [...identity.groups],
    target: formatTarget(target),
    namespace,
    labels: { ...labels },
    targetUid,
    profile,
    client,
    openedAt: openedAt.toISOString(),
    userId,
    key,
    headerFilter,
    ci,
    ports: hasNone(ports) ? undefined : { mirror: [...ports.mirror], steal: [...ports.steal] },
    replicas: [...replicas],
    closed,
  }
  return {
    annotations: { [annotation]: JSON.stringify(state) },
    spec: {
      holderIdentity: replicas[0],
      leaseDurationSeconds: replicaLeaseSeconds,
      acquireTime: microTime(openedAt),
      renewTime: microTime(),
    },
  }
}

const hasNone = ({ mirror, steal }: UsedPorts) => mirror.length + steal.length === 0
