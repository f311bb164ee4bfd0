import { heapEnvironment } from "../operator-heap.ts"
import { chartJson } from "./chart-json.ts"
import type { KubeObject } from "./kube-object.ts"
import { settingsDigest } from "./plugin-settings.ts"
import type { Values } from "./values.ts"

const name = "podside-operator"
const selector = { "app.kubernetes.io/name": name }

/** The operator's pods: non-root, read-only, without capabilities. What they need of the kernel is a socket. */
export function deployment(values: Values, labels: Record<string, string>): KubeObject {
  const { operator, namespace, sa } = values
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name, namespace, labels },
    spec: {
      replicas: operator.replicas,
      selector: { matchLabels: selector },
      template: {
        metadata: {
          labels: { ...labels, ...operator.podLabels, ...selector },
          annotations: { "podside.dev/settings": settingsDigest(values), ...operator.podAnnotations },
        },
        spec: {
          serviceAccountName: sa.name,
          ...(operator.imagePullSecrets.length > 0 && { imagePullSecrets: operator.imagePullSecrets }),
          securityContext: {
            runAsNonRoot: true,
            runAsUser: 1000,
            runAsGroup: 1000,
            seccompProfile: { type: "RuntimeDefault" },
          },
          ...(operator.tolerations.length > 0 && { tolerations: operator.tolerations }),
          ...(Object.keys(operator.affinity).length > 0 && { affinity: operator.affinity }),
          ...(Object.keys(operator.nodeSelector).length > 0 && { nodeSelector: operator.nodeSelector }),
          containers: [container(values)],
          volumes: volumes(values),
        },
      },
    },
  }
}

function container(values: Values) {
  const { operator } = values
  const probe = (path: string) => ({ httpGet: { path, port: "https", scheme: "HTTPS" } })
  return {
    name: "operator",
    image: operatorImage(values),
    imagePullPolicy: operator.imagePullPolicy,
    args: ["--mode", "operator"],
    env: environment(values),
    ports: [
      { name: "https", containerPort: operator.port },
      ...(operator.metrics ? [{ name: "metrics", containerPort: 9000 }] : []),
    ],
    livenessProbe: { ...probe("/health"), periodSeconds: 5, timeoutSeconds: 10, failureThreshold: 30 },
    readinessProbe: { ...probe("/readyz"), periodSeconds: 2 },
    resources: { requests: operator.requests, limits: operator.limits },
    securityContext: {
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ["ALL"] },
    },
    volumeMounts: [
      { name: "plugins", mountPath: "/config", readOnly: true },
      ...(ownCertificate(values) ? [] : [{ name: "tls", mountPath: "/tls", readOnly: true }]),
      ...operator.extraVolumeMounts,
    ],
  }
}

function volumes(values: Values) {
  return [
    { name: "plugins", configMap: { name } },
    ...(ownCertificate(values) ? [] : [{ name: "tls", secret: { secretName: values.tls.secret } }]),
    ...values.operator.extraVolumes,
  ]
}

const ownCertificate = ({ tls }: Values) => !tls.useExistingSecret && !tls.certManager.enabled && !tls.data["tls.crt"]

/** What agents are started with; what the chart says of them elsewhere is but a default. */
function agentConfig({ operator, agent }: Values) {
  return {
    image_pull_policy: operator.imagePullPolicy,
    ...(operator.imagePullSecrets.length > 0 && { image_pull_secrets: operator.imagePullSecrets }),
    ...(agent.priorityClass.create && { priority_class: agent.priorityClass.name }),
    ...agent.extraConfig,
  }
}

export const operatorImage = ({ operator }: Values) => `${operator.image}:${operator.imageTag}`

/** Both families of addresses, or the one a kernel without IPv6 has. */
const listening = (prefix: string, port: number) => [
  { name: `${prefix}_ADDR`, value: `[::]:${port}` },
  { name: `${prefix}_FALLBACK_ADDR`, value: `0.0.0.0:${port}` },
]

function environment(values: Values) {
  const { operator, agent, service } = values
  const field = (variable: string, fieldPath: string) => ({ name: variable, valueFrom: { fieldRef: { fieldPath } } })
  const text = (variable: string, value: string | number | boolean) => ({ name: variable, value: String(value) })
  return [
    ...listening("OPERATOR", operator.port),
    ...(operator.metrics ? listening("OPERATOR_METRICS", 9000) : []),
    field("OPERATOR_POD_NAME", "metadata.name"),
    field("OPERATOR_POD_UID", "metadata.uid"),
    field("MIRRORD_OPERATOR_NAMESPACE", "metadata.namespace"),
    text("OPERATOR_SERVICE_NAME", service.name),
    ...(ownCertificate(values)
      ? [
          text(
            "OPERATOR_MANAGE_API_SERVICE",
            !values.tls.apiService.insecureSkipTLSVerify && !values.tls.apiService.caBundle,
          ),
        ]
      : [text("OPERATOR_TLS_CERT_PATH", "/tls/tls.crt"), text("OPERATOR_TLS_KEY_PATH", "/tls/tls.key")]),
    text("OPERATOR_AGENT_CONNECTION_TLS", agent.tls),
    ...(agent.port === null ? [] : [text("OPERATOR_AGENT_PORT", agent.port)]),
    text("OPERATOR_AGENT_IMAGE", agent.image || operatorImage(values)),
    text("OPERATOR_AGENT_CONFIG", chartJson(agentConfig(values))),
    ...(Object.keys(agent.extraEnv).length > 0 ? [text("OPERATOR_AGENT_EXTRA_ENV", chartJson(agent.extraEnv))] : []),
    text("OPERATOR_AGENT_HOST_PATHS", agent.hostPaths),
    text("OPERATOR_AGENT_EPHEMERAL", agent.ephemeral),
    text("OPERATOR_AGENT_IDLE_SECONDS", agent.idleSeconds),
    text("OPERATOR_AGENT_STARTUP_SECONDS", agent.startupSeconds),
    text("OPERATOR_MAX_SESSION_TIME_SECONDS", operator.maxSessionTimeSeconds),
    text("OPERATOR_NO_POD_TARGETS_SESSION_TIMEOUT_MILLIS", operator.noPodTargetsSessionTimeoutMillis),
    text("OPERATOR_MAX_CONNECTS_PER_USER", operator.maxConnectsPerUser),
    ...(operator.clusterName ? [text("OPERATOR_CLUSTER_NAME", operator.clusterName)] : []),
    text("OPERATOR_JSON_LOG", operator.jsonLog),
    text("OPERATOR_LOG_LEVEL", operator.logLevel),
    text("PODSIDE_PLUGIN_CONFIG", "/config/plugins.json"),
    ...Object.entries(heapEnvironment).map(([variable, value]) => text(variable, value)),
    ...Object.entries(operator.extraEnv).map(([variable, value]) =>
      typeof value === "string" ? text(variable, value) : { name: variable, ...value },
    ),
  ]
}
