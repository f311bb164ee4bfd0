import * as v from "valibot"

/*
 * What the group serves, in one list: discovery, OpenAPI, tables and RBAC are derived from it.
 * Names, kinds and field spellings are an external contract (operator API, group operator.metalbear.co/v1).
 */

export const group = "operator.metalbear.co"
export const version = "v1"
export const groupVersion = `${group}/${version}`

export interface ServedResource {
  plural: string
  singular: string
  kind: string
  namespaced: boolean
  verbs: readonly string[]
  shortNames?: readonly string[]
  description: string
  /** The object without apiVersion, kind and metadata. */
  schema?: v.GenericSchema
  columns?: readonly Column[]
  subresources?: readonly { name: string; kind: string; verbs: readonly string[] }[]
}

export interface Column {
  name: string
  type: "string" | "integer" | "date"
  description: string
  /** 0 is always shown, 1 with `-o wide`. */
  priority: 0 | 1
  // biome-ignore lint/suspicious/noExplicitAny: an object of the resource, whose shape `schema` describes
  cell(object: any): string | number
}

const text = v.string()
const count = v.pipe(v.number(), v.integer())
const described = <S extends v.GenericSchema>(schema: S, description: string) =>
  v.pipe(schema, v.description(description))

export const lockedPortSchema = v.object({
  port: described(count, "Port of the target's pods."),
  kind: described(text, "steal, or steal-filtered when only some requests are taken."),
  filter: v.nullish(described(text, "The HTTP filter, as text.")),
})

export const sessionSpecSchema = v.object({
  id: described(text, "Session id, upper-case hexadecimal."),
  duration_secs: described(count, "Age in seconds."),
  user: described(text, "Local user, Kubernetes user and host name: local/kubernetes@host."),
  target: described(text, "What the session works on, e.g. deployment/shop."),
  namespace: v.nullish(described(text, "Namespace of the target.")),
  locked_ports: v.nullish(described(v.array(lockedPortSchema), "Ports it steals.")),
  user_id: v.nullish(described(text, "Key of the client's certificate.")),
  key: v.nullish(described(text, "Session key, shared by sessions that belong together.")),
  http_filter: v.nullish(
    described(v.object({ headerFilter: v.nullish(text) }), "The filter its client was configured with."),
  ),
})
export type SessionSpec = v.InferOutput<typeof sessionSpecSchema>

const licenseSchema = v.object({
  name: text,
  organization: text,
  expire_at: described(text, "Date, YYYY-MM-DD."),
  fingerprint: v.nullish(text),
  subscription_id: v.nullish(text),
})

const operatorSchema = v.object({
  spec: v.object({
    operator_version: described(text, "The mirrord operator whose behaviour it has; its own version is a label."),
    default_namespace: described(text, "Where the operator lives."),
    features: v.nullish(described(v.array(text), "What older clients look at in place of supported_features.")),
    supported_features: v.nullish(described(v.array(text), "What clients may use.")),
    license: licenseSchema,
    protocol_version: v.nullish(described(text, "The latest protocol its sessions can speak.")),
    copy_target_enabled: v.nullish(described(v.boolean(), "Whether it makes copies of targets.")),
    operator_namespace: v.nullish(text),
  }),
  status: v.nullish(
    v.object({
      sessions: described(v.array(sessionSpecSchema), "Those that run now, of all namespaces."),
      statistics: v.nullish(v.object({ dau: count, mau: count })),
      copy_targets: v.nullish(v.array(v.unknown())),
    }),
  ),
})
export type OperatorObject = v.InferOutput<typeof operatorSchema>

const targetSchema = v.object({
  spec: v.object({
    target: described(
      v.nullable(v.record(text, v.unknown())),
      "The target in configuration form; null when there is none.",
    ),
  }),
})

export const userCredentialSchema = v.object({
  spec: v.object({
    csr: described(text, "PKCS#10 request in PEM, Ed25519 or ECDSA P-256."),
    kind: described(text, "regular or ci."),
  }),
  status: v.nullish(v.object({ certificate: described(text, "The certificate in PEM.") })),
})

export const servedResources: readonly ServedResource[] = [
  {
    plural: "mirrordoperators",
    singular: "mirrordoperator",
    kind: "MirrordOperator",
    namespaced: false,
    verbs: ["get", "list"],
    description: "The operator: its version, what it supports, and the sessions that run now.",
    schema: operatorSchema,
    columns: [
      {
        name: "Version",
        type: "string",
        description: "Operator version",
        priority: 0,
        cell: (o) => o.spec.operator_version,
      },
      {
        name: "Protocol",
        type: "string",
        description: "Protocol version",
        priority: 0,
        cell: (o) => o.spec.protocol_version ?? "",
      },
      {
        name: "Sessions",
        type: "integer",
        description: "Sessions now",
        priority: 0,
        cell: (o) => o.status?.sessions.length ?? 0,
      },
    ],
    subresources: [
      { name: "certificate", kind: "MirrordOperator", verbs: ["create"] },
      { name: "ping", kind: "MirrordOperator", verbs: ["get"] },
    ],
  },
  {
    plural: "mirrordclusteroperatorusercredentials",
    singular: "mirrordclusteroperatorusercredential",
    kind: "MirrordClusterOperatorUserCredential",
    namespaced: false,
    verbs: ["create"],
    description: "A request for a client certificate. Nothing is stored.",
    schema: userCredentialSchema,
  },
  {
    plural: "targets",
    singular: "target",
    kind: "Target",
    namespaced: true,
    verbs: ["get", "list", "proxy"],
    description: "A workload that sessions may use. Connecting to it is the verb proxy.",
    schema: targetSchema,
    columns: [
      {
        name: "Kind",
        type: "string",
        description: "Kind of the workload",
        priority: 0,
        cell: (o) => kindOf(o.spec.target),
      },
      { name: "Target", type: "string", description: "Its name", priority: 0, cell: (o) => workloadOf(o.spec.target) },
      {
        name: "Container",
        type: "string",
        description: "Container, when one is named",
        priority: 1,
        cell: (o) => o.spec.target?.container ?? "",
      },
    ],
    subresources: [{ name: "port-locks", kind: "Target", verbs: ["get", "list"] }],
  },
  {
    plural: "sessions",
    singular: "session",
    kind: "Session",
    namespaced: true,
    verbs: ["get", "list", "watch", "delete", "deletecollection"],
    description: "One client's use of a target.",
    schema: v.object({
      spec: v.object({
        session: described(sessionSpecSchema, "Who uses what, since when, and which ports it steals."),
      }),
    }),
    columns: [
      {
        name: "Target",
        type: "string",
        description: "What it works on",
        priority: 0,
        cell: (o) => o.spec.session.target,
      },
      { name: "User", type: "string", description: "Whose it is", priority: 0, cell: (o) => o.spec.session.user },
      {
        name: "Ports",
        type: "string",
        description: "Ports it steals",
        priority: 0,
        cell: (o) => portsOf(o.spec.session),
      },
      { name: "Key", type: "string", description: "Session key", priority: 1, cell: (o) => o.spec.session.key ?? "" },
      { name: "Age", type: "date", description: "Since when", priority: 0, cell: (o) => o.metadata.creationTimestamp },
    ],
  },
]

function kindOf(target: Record<string, unknown> | null): string {
  return Object.keys(target ?? {}).find((key) => key !== "container") ?? "targetless"
}

function workloadOf(target: Record<string, unknown> | null): string {
  const name = target?.[kindOf(target)]
  return name === undefined ? "" : typeof name === "string" ? name : JSON.stringify(name)
}

function portsOf(session: SessionSpec): string {
  return (session.locked_ports ?? []).map(({ port }) => port).join(",")
}
