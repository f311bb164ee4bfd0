import * as v from "valibot"
import { AppError } from "../../core/errors.ts"
import { version } from "../../package.json"
import { agentSection, environmentVariables } from "../operator-agent.ts"
import { problemsOf } from "../problems.ts"

/*
 * What may be chosen about an installation. One schema for the chart (values.schema.json is made from it), for
 * `podside operator setup`, and for the documentation. Names follow the mirrord operator's chart where it has the same thing.
 */

/** A value with its default, and what the files made from it say about it. */
const value = <const S extends v.GenericSchema>(schema: S, otherwise: v.InferInput<S>, description: string) =>
  v.optional(v.pipe(schema, v.description(description)), otherwise as never)
const section = <E extends v.ObjectEntries>(entries: E) => v.optional(v.strictObject(entries), {} as never)

const anything = v.record(v.string(), v.unknown())
const texts = v.record(v.string(), v.string())
const labels = (description: string) => value(texts, {}, description)
const flag = (otherwise: boolean, description: string) => value(v.boolean(), otherwise, description)
const name = (otherwise: string, description: string) => value(v.string(), otherwise, description)
const port = v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(65535))
/** Ranges are those of the operator's settings, config/operator.ts. */
const whole = (otherwise: number, min: number, max: number, description: string) =>
  value(v.pipe(v.number(), v.integer(), v.minValue(min), v.maxValue(max)), otherwise, description)

const operator = section({
  image: name("podside", "Image without tag; agents use it too unless agent.image says otherwise."),
  imageTag: name(version, "Tag of that image."),
  imagePullPolicy: value(
    v.picklist(["Always", "IfNotPresent", "Never"]),
    "IfNotPresent",
    "Of the operator's pods and of its agents.",
  ),
  imagePullSecrets: value(
    v.array(v.strictObject({ name: v.string() })),
    [],
    "Of the operator's pods, each { name }, and of agents unless agent.extraConfig.image_pull_secrets says otherwise.",
  ),
  replicas: value(
    v.pipe(v.number(), v.integer(), v.minValue(1)),
    1,
    "Pods that serve side by side; sessions of a lost one go on at another.",
  ),
  podAnnotations: labels("More annotations of the operator's pods."),
  podLabels: labels("More labels of the operator's pods."),
  labels: labels("More labels of every object."),
  clusterName: name("", "Name of the cluster, in every line that is logged; for logs of several in one place."),
  jsonLog: flag(true, "Log in JSON, one object a line."),
  logLevel: value(
    v.picklist(["debug", "info", "warn", "error"]),
    "info",
    "Lowest level that is logged; the audit always is.",
  ),
  extraEnv: value(
    v.record(v.string(), v.union([v.string(), anything])),
    {},
    "More environment: name to text, or to a map with valueFrom.",
  ),
  extraVolumes: value(
    v.array(anything),
    [],
    "More volumes of the operator's pods; e.g. a ConfigMap with plugins, for PODSIDE_PLUGINS.",
  ),
  extraVolumeMounts: value(v.array(anything), [], "Where they are mounted."),
  metrics: flag(false, "Prometheus series on port 9000."),
  maxSessionTimeSeconds: whole(0, 0, 31_536_000, "Longest life of a session; 0 = no limit."),
  noPodTargetsSessionTimeoutMillis: whole(
    60_000,
    0,
    86_400_000,
    "Life of a session whose target has no usable pod, in milliseconds.",
  ),
  maxConnectsPerUser: whole(32, 1, 10_000, "Sessions one user may be opening at once; more are told to try again."),
  requests: value(anything, { cpu: "100m", memory: "100Mi" }, "What each pod of the operator asks of its node."),
  limits: value(anything, { cpu: "1", memory: "512Mi" }, "The most each may take."),
  tolerations: value(v.array(anything), [], "Of the operator's pods."),
  affinity: value(anything, {}, "Of the operator's pods."),
  nodeSelector: labels("Of the operator's pods."),
  port: value(port, 8443, "Port of the operator's pods; its service has 443."),
})

const agent = section({
  image: name("", "Whole image reference of agents; empty means the operator's."),
  tls: flag(true, "TLS between the operator and its agents."),
  port: value(v.nullable(port), null, "Fixed port of agents; null for a random one each."),
  idleSeconds: whole(60, 1, 86_400, "An agent without clients leaves after this."),
  startupSeconds: whole(60, 5, 600, "Longest time an agent may take to answer."),
  hostPaths: flag(false, "Mount the node's runtime sockets; only mirrord's own agent needs them."),
  ephemeral: flag(
    false,
    "Ephemeral containers of the target's pod instead of pods; each stays in the pod's list when it ended.",
  ),
  priorityClass: section({
    create: flag(
      false,
      "Make a PriorityClass for agents, so that a full node has room for them: pods that matter less are evicted.",
    ),
    name: name("mirrord-agent-pod", "Its name; of one that exists: agent.extraConfig.priority_class."),
    value: whole(
      1_000_000_000,
      -2_147_483_648,
      1_000_000_000,
      "How much agents matter. Kubernetes does not let a class change it: choose another name then.",
    ),
    globalDefault: flag(false, "Use it for every pod of the cluster that names no class."),
    preemptionPolicy: value(
      v.picklist(["PreemptLowerPriority", "Never"]),
      "PreemptLowerPriority",
      "Whether pods that matter less are evicted, or agents only wait in front of them.",
    ),
    description: name("Agents of podside, beside the pods that sessions use", "What people read about the class."),
  }),
  extraEnv: value(environmentVariables, {}, "More environment of agents: name to text."),
  extraConfig: value(agentSection, {}, "Keys of the client configuration's agent section."),
})

const tls = section({
  secret: name("podside-operator-tls", "Secret (kubernetes.io/tls) of a certificate that is not the operator's own."),
  data: section({
    "tls.crt": name(
      "",
      "PEM of a certificate to put into tls.secret, and of those it is from; read with apiService.caBundle.",
    ),
    "tls.key": name("", "PEM of its key."),
  }),
  useExistingSecret: flag(false, "Serve the certificate of tls.secret, which exists, instead of an own one."),
  apiService: section({
    insecureSkipTLSVerify: flag(false, "The API server verifies nothing. Only for a trial."),
    caBundle: name("", "Base64 of the CA of a certificate that is not the operator's own."),
  }),
  certManager: section({
    enabled: flag(
      false,
      "cert-manager issues the certificate into tls.secret, and injects its CA into the APIService.",
    ),
    createIssuer: flag(true, "Make the issuer, with a CA of its own."),
    issuer: name("podside-operator-issuer", "Name of the issuer."),
    issuerKind: name("Issuer", "With createIssuer: false also ClusterIssuer, or a kind of another issuerGroup."),
    issuerGroup: name("cert-manager.io", "API group of the issuer."),
  }),
})

const roleLabels = section({ labels: labels("More labels of that role, e.g. for aggregation.") })

export const valuesSchema = v.strictObject({
  namespace: name("mirrord", "Where the operator lives."),
  createNamespace: flag(true, "Make that namespace."),
  crds: flag(
    true,
    "Install the stored kinds that mirrord's clients or the operator read; false when mirrord's chart has.",
  ),
  roleNamespaces: value(v.array(v.string()), [], "Namespaces that get the Role mirrord-operator-user."),
  role: section({ "mirrord-operator-user": roleLabels }),
  clusterRole: section({
    "mirrord-operator-user": roleLabels,
    "mirrord-operator-user-basic": roleLabels,
    "mirrord-operator-ci": roleLabels,
  }),
  operator,
  agent,
  impersonation: section({
    mode: value(
      v.picklist(["impersonate", "review"]),
      "impersonate",
      "How callers' rights are asked; see plugin rbac-impersonation.",
    ),
  }),
  plugins: value(anything, {}, "Settings of plugins by name."),
  service: section({ name: name("podside-operator", "Name of the operator's service.") }),
  sa: section({
    create: flag(true, "Make the operator's service account."),
    name: name("podside-operator", "Name of that service account."),
    annotations: labels("Its annotations, when it is made."),
  }),
  tls,
  openshift: flag(
    false,
    "Make SecurityContextConstraints for the operator's pods and its agents. Ephemeral agents need those of their target's.",
  ),
  extraObjects: value(v.array(anything), [], "More objects, as they are."),
})

export type Values = v.InferOutput<typeof valuesSchema>

/** Fills in the defaults. @throws AppError "bad-values" naming every key that is wrong */
export function readValues(given: Record<string, unknown>): Values {
  const read = v.safeParse(valuesSchema, given)
  if (read.success) return consistent(read.output)
  throw badValues(problemsOf(given, read.issues, valuesSchema).join("; "))
}

/** What a schema of single values cannot say; the chart's `podside.consistent` refuses the same in the same words. */
function consistent(values: Values): Values {
  const { data, useExistingSecret, apiService, certManager } = values.tls
  const { enabled, createIssuer, issuerKind, issuerGroup } = certManager
  if (enabled && useExistingSecret)
    throw badValues("tls.useExistingSecret and tls.certManager.enabled exclude each other: both fill tls.secret")
  if (!data["tls.crt"] !== !data["tls.key"]) throw badValues("tls.data needs both, tls.crt and tls.key")
  if (data["tls.crt"] && (enabled || useExistingSecret))
    throw badValues("tls.data excludes tls.useExistingSecret and tls.certManager.enabled: each fills tls.secret")
  if (values.agent.priorityClass.create && values.agent.extraConfig.priority_class !== undefined)
    throw badValues("agent.priorityClass.create and agent.extraConfig.priority_class exclude each other")
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
