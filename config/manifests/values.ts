import * as v from "valibot"
import { AppError } from "../../core/errors.ts"
import { version } from "../../package.json"

/*
 * What may be chosen about an installation. One schema for the chart (values.schema.json is made from it), for
 * `podside operator setup`, and for the documentation. Names follow the mirrord operator's chart where it has the same thing.
 */

const labels = v.optional(v.record(v.string(), v.string()), {})
const anything = v.record(v.string(), v.unknown())
const labelled = v.optional(v.strictObject({ labels }), {})
const port = v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(65535))
const seconds = v.pipe(v.number(), v.integer(), v.minValue(0))
const about = <S extends v.GenericSchema>(schema: S, description: string) => v.pipe(schema, v.description(description))

const operator = v.strictObject({
  image: v.optional(
    about(v.string(), "Image without tag; agents use it too unless agent.image says otherwise."),
    "podside",
  ),
  imageTag: v.optional(v.string(), version),
  imagePullPolicy: v.optional(v.picklist(["Always", "IfNotPresent", "Never"]), "IfNotPresent"),
  imagePullSecrets: v.optional(v.array(v.strictObject({ name: v.string() })), []),
  replicas: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1)), 1),
  podAnnotations: labels,
  podLabels: labels,
  labels,
  jsonLog: v.optional(v.boolean(), true),
  logLevel: v.optional(v.picklist(["debug", "info", "warn", "error"]), "info"),
  extraEnv: v.optional(
    about(v.record(v.string(), v.union([v.string(), anything])), "Name to text, or to a map with valueFrom."),
    {},
  ),
  extraVolumes: v.optional(
    about(
      v.array(anything),
      "More volumes of the operator's pods; e.g. a ConfigMap with plugins, for PODSIDE_PLUGINS.",
    ),
    [],
  ),
  extraVolumeMounts: v.optional(v.array(anything), []),
  metrics: v.optional(about(v.boolean(), "Prometheus series on port 9000."), false),
  maxSessionTimeSeconds: v.optional(about(seconds, "Longest life of a session; 0 = no limit."), 0),
  noPodTargetsSessionTimeoutMillis: v.optional(
    about(seconds, "Life of a session whose target has no usable pod, in milliseconds."),
    60_000,
  ),
  maxConnectsPerUser: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1)), 32),
  requests: v.optional(anything, { cpu: "100m", memory: "100Mi" }),
  limits: v.optional(anything, { cpu: "1", memory: "512Mi" }),
  tolerations: v.optional(v.array(anything), []),
  affinity: v.optional(anything, {}),
  nodeSelector: labels,
  port: v.optional(port, 8443),
})

const agent = v.strictObject({
  image: v.optional(about(v.string(), "Whole image reference of agents; empty means the operator's."), ""),
  tls: v.optional(about(v.boolean(), "TLS between the operator and its agents."), true),
  port: v.optional(about(v.nullable(port), "Fixed port of agents; null for a random one each."), null),
  idleSeconds: v.optional(about(seconds, "An agent without clients leaves after this."), 60),
  startupSeconds: v.optional(seconds, 60),
  hostPaths: v.optional(
    about(v.boolean(), "Mount the node's runtime sockets; only mirrord's own agent needs them."),
    false,
  ),
  ephemeral: v.optional(
    about(
      v.boolean(),
      "Ephemeral containers of the target's pod instead of pods; each stays in the pod's list when it ended.",
    ),
    false,
  ),
  extraConfig: v.optional(about(anything, "Keys of the client configuration's agent section."), {}),
})

const tls = v.strictObject({
  secret: v.optional(v.string(), "podside-operator-tls"),
  useExistingSecret: v.optional(
    about(v.boolean(), "Serve the certificate of tls.secret (kubernetes.io/tls) instead of an own one."),
    false,
  ),
  apiService: v.optional(
    v.strictObject({
      insecureSkipTLSVerify: v.optional(v.boolean(), false),
      caBundle: v.optional(about(v.string(), "Base64 of the CA of a certificate that is not the operator's own."), ""),
    }),
    {},
  ),
  certManager: v.optional(
    v.strictObject({
      enabled: v.optional(
        about(
          v.boolean(),
          "cert-manager issues the certificate into tls.secret, and injects its CA into the APIService.",
        ),
        false,
      ),
      createIssuer: v.optional(about(v.boolean(), "Make the issuer, with a CA of its own."), true),
      issuer: v.optional(v.string(), "podside-operator-issuer"),
      issuerKind: v.optional(
        about(v.string(), "With createIssuer: false also ClusterIssuer, or a kind of issuerGroup."),
        "Issuer",
      ),
      issuerGroup: v.optional(v.string(), "cert-manager.io"),
    }),
    {},
  ),
})

export const valuesSchema = v.strictObject({
  namespace: v.optional(about(v.string(), "Where the operator lives."), "mirrord"),
  createNamespace: v.optional(v.boolean(), true),
  crds: v.optional(
    about(
      v.boolean(),
      "Install the stored kinds that mirrord's clients or the operator read; false when mirrord's chart has.",
    ),
    true,
  ),
  roleNamespaces: v.optional(about(v.array(v.string()), "Namespaces that get the Role mirrord-operator-user."), []),
  role: v.optional(v.strictObject({ "mirrord-operator-user": labelled }), {}),
  clusterRole: v.optional(
    v.strictObject({
      "mirrord-operator-user": labelled,
      "mirrord-operator-user-basic": labelled,
      "mirrord-operator-ci": labelled,
    }),
    {},
  ),
  operator: v.optional(operator, {}),
  agent: v.optional(agent, {}),
  impersonation: v.optional(
    v.strictObject({
      mode: v.optional(
        about(v.picklist(["impersonate", "review"]), "How callers' rights are asked; see plugin rbac-impersonation."),
        "impersonate",
      ),
    }),
    {},
  ),
  plugins: v.optional(about(anything, "Settings of plugins by name."), {}),
  service: v.optional(v.strictObject({ name: v.optional(v.string(), "podside-operator") }), {}),
  sa: v.optional(
    v.strictObject({
      create: v.optional(v.boolean(), true),
      name: v.optional(v.string(), "podside-operator"),
      annotations: labels,
    }),
    {},
  ),
  tls: v.optional(tls, {}),
  extraObjects: v.optional(v.array(anything), []),
})

export type Values = v.InferOutput<typeof valuesSchema>

/** Fills in the defaults. @throws AppError "bad-values" naming the key */
export function readValues(given: unknown): Values {
  const read = v.safeParse(valuesSchema, given)
  if (read.success) return consistent(read.output)
  const [issue] = read.issues
  throw badValues(`The value "${v.getDotPath(issue) ?? ""}" cannot be used: ${issue.message}`)
}

/** What a schema of single values cannot say; the chart's `podside.consistent` refuses the same in the same words. */
function consistent(values: Values): Values {
  const { useExistingSecret, apiService, certManager } = values.tls
  const { enabled, createIssuer, issuerKind, issuerGroup } = certManager
  if (enabled && useExistingSecret)
    throw badValues("tls.useExistingSecret and tls.certManager.enabled exclude each other: both fill tls.secret")
  if (enabled && createIssuer && (issuerKind !== "Issuer" || issuerGroup !== "cert-manager.io"))
    throw badValues(
      "tls.certManager.issuerKind and issuerGroup are for an issuer that exists: set createIssuer to false",
    )
  if (apiService.insecureSkipTLSVerify && apiService.caBundle)
    throw badValues("tls.apiService.caBundle and insecureSkipTLSVerify exclude each other")
  return values
}

const badValues = (message: string) =>
  new AppError("bad-values", message, { next: "See config/chart/values.yaml for every value there is.", exitCode: 2 })
