import { customResources } from "./crds.ts"
import { deployment } from "./deployment.ts"
import type { KubeObject } from "./kube-object.ts"
import { pluginSettings } from "./plugin-settings.ts"
import {
  authenticationRules,
  basicRules,
  ephemeralRules,
  impersonateRules,
  operatorRules,
  ownNamespaceRules,
  type Rule,
  reviewRules,
  targetRules,
} from "./rules.ts"
import type { Values } from "./values.ts"

const rbac = "rbac.authorization.k8s.io"
export const operatorName = "podside-operator"
const authenticationRole = `${operatorName}-apiserver-authentication`

/** Everything an installation consists of, in the order it should be applied. */
export function manifests(values: Values): KubeObject[] {
  return [
    ...(values.createNamespace ? [object("v1", "Namespace", values.namespace, values)] : []),
    ...(values.crds ? (customResources as unknown as KubeObject[]) : []),
    ...serviceAccount(values),
    ...roles(values),
    ...bindings(values),
    ...openshift(values),
    ...priorityClass(values),
    ...givenCertificate(values),
    ...certManager(values),
    object("v1", "ConfigMap", operatorName, values, {
      namespace: values.namespace,
      data: { "plugins.json": pluginSettings(values) },
    }),
    deployment(values, commonLabels(values)),
    service(values),
    apiService(values),
    ...(values.extraObjects as KubeObject[]),
  ]
}

export function commonLabels({ operator }: Values): Record<string, string> {
  return { "app.kubernetes.io/name": operatorName, "app.kubernetes.io/part-of": "podside", ...operator.labels }
}

function object(
  apiVersion: string,
  kind: string,
  name: string,
  values: Values,
  {
    namespace,
    labels,
    annotations,
    ...rest
  }: {
    namespace?: string
    labels?: Record<string, string>
    annotations?: Record<string, string>
    [more: string]: unknown
  } = {},
): KubeObject {
  const metadata = {
    name,
    ...(namespace && { namespace }),
    labels: { ...commonLabels(values), ...labels },
    ...(annotations && Object.keys(annotations).length > 0 && { annotations }),
  }
  return { apiVersion, kind, metadata, ...rest }
}

function serviceAccount(values: Values): KubeObject[] {
  const { sa, namespace } = values
  return sa.create ? [object("v1", "ServiceAccount", sa.name, values, { namespace, annotations: sa.annotations })] : []
}

function roles(values: Values): KubeObject[] {
  const { namespace, clusterRole, role } = values
  const cluster = (name: string, rules: readonly Rule[], labels?: Record<string, string>) =>
    object(`${rbac}/v1`, "ClusterRole", name, values, { labels, rules })
  const local = (name: string, inNamespace: string, rules: readonly Rule[], labels?: Record<string, string>) =>
    object(`${rbac}/v1`, "Role", name, values, { namespace: inNamespace, labels, rules })
  return [
    cluster(operatorName, [
      ...operatorRules,
      ...(values.agent.ephemeral ? ephemeralRules : []),
      ...(values.impersonation.mode === "impersonate" ? impersonateRules : reviewRules),
    ]),
    cluster("mirrord-operator-user", [...targetRules, ...basicRules], clusterRole["mirrord-operator-user"].labels),
    cluster("mirrord-operator-ci", [...targetRules, ...basicRules], clusterRole["mirrord-operator-ci"].labels),
    cluster("mirrord-operator-user-basic", basicRules, clusterRole["mirrord-operator-user-basic"].labels),
    local(operatorName, namespace, ownNamespaceRules),
    local(authenticationRole, "kube-system", authenticationRules),
    ...values.roleNamespaces.map((each) =>
      local("mirrord-operator-user", each, targetRules, role["mirrord-operator-user"].labels),
    ),
  ]
}

function bindings(values: Values): KubeObject[] {
  const subjects = [{ kind: "ServiceAccount", name: values.sa.name, namespace: values.namespace }]
  const roleRef = (kind: "ClusterRole" | "Role", name: string) => ({ apiGroup: rbac, kind, name })
  const binding = (kind: "ClusterRole" | "Role", name: string, namespace?: string) =>
    object(`${rbac}/v1`, `${kind}Binding`, name, values, { namespace, roleRef: roleRef(kind, name), subjects })
  return [
    binding("ClusterRole", operatorName),
    binding("Role", operatorName, values.namespace),
    binding("Role", authenticationRole, "kube-system"),
  ]
}

function service(values: Values): KubeObject {
  const {
    service: { name },
    namespace,
    operator,
  } = values
  const ports = [{ name: "https", port: 443, targetPort: "https" }]
  const metrics = operator.metrics ? [{ name: "metrics", port: 9000, targetPort: "metrics" }] : []
  const spec = { selector: { "app.kubernetes.io/name": operatorName }, ports: [...ports, ...metrics] }
  return object("v1", "Service", name, values, { namespace, spec })
}

/** Without a CA of somebody else the operator writes its own into it when it starts. */
function apiService(values: Values): KubeObject {
  const {
    tls,
    namespace,
    service: { name },
  } = values
  const { insecureSkipTLSVerify, caBundle } = tls.apiService
  // The API server refuses a CA beside insecureSkipTLSVerify, and two writers would undo each other's.
  const isInjected = tls.certManager.enabled && !insecureSkipTLSVerify && !caBundle
  const injected = isInjected && { "cert-manager.io/inject-ca-from": `${namespace}/${operatorName}` }
  return object("apiregistration.k8s.io/v1", "APIService", "v1.operator.metalbear.co", values, {
    ...(injected && { annotations: injected }),
    spec: {
      group: "operator.metalbear.co",
      version: "v1",
      groupPriorityMinimum: 1000,
      versionPriority: 15,
      ...(insecureSkipTLSVerify && { insecureSkipTLSVerify }),
      ...(caBundle && { caBundle }),
      service: { name, namespace, port: 443 },
    },
  })
}

function priorityClass(values: Values): KubeObject[] {
  const { create, name, ...rest } = values.agent.priorityClass
  return create ? [object("scheduling.k8s.io/v1", "PriorityClass", name, values, rest)] : []
}

function givenCertificate(values: Values): KubeObject[] {
  const { tls, namespace } = values
  if (!tls.data["tls.crt"]) return []
  const data = Object.fromEntries(
    Object.entries(tls.data).map(([name, pem]) => [name, Buffer.from(pem).toString("base64")]),
  )
  return [object("v1", "Secret", tls.secret, values, { namespace, type: "kubernetes.io/tls", data })]
}

/** What OpenShift has to be told: by its defaults no pod chooses its user, and none sees its node's processes. */
function openshift(values: Values): KubeObject[] {
  const { namespace, sa, agent } = values
  if (!values.openshift) return []
  const account = (name: string) => `system:serviceaccount:${namespace}:${name}`
  const constraints = (name: string, rest: Record<string, unknown>) =>
    object("security.openshift.io/v1", "SecurityContextConstraints", name, values, { ...anybodys, ...rest })
  return [
    constraints(operatorName, {
      ...{ allowHostPID: false, allowHostDirVolumePlugin: false, allowPrivilegedContainer: false },
      ...{ allowPrivilegeEscalation: false, requiredDropCapabilities: ["ALL"], allowedCapabilities: [] },
      runAsUser: { type: "MustRunAsNonRoot" },
      seccompProfiles: ["runtime/default"],
      volumes: ordinaryVolumes,
      users: [account(sa.name)],
    }),
    constraints("podside-agent", {
      ...{ allowHostPID: true, allowHostDirVolumePlugin: agent.hostPaths },
      allowPrivilegedContainer: agent.extraConfig.privileged === true,
      ...{ allowPrivilegeEscalation: true, requiredDropCapabilities: [], allowedCapabilities: agentCapabilities },
      runAsUser: { type: "RunAsAny" },
      seccompProfiles: ["*"],
      volumes: agent.hostPaths ? [...ordinaryVolumes, "hostPath"] : ordinaryVolumes,
      users: [account(agent.extraConfig.service_account ?? "default")],
    }),
  ]
}

const anybodys = {
  allowHostIPC: false,
  allowHostNetwork: false,
  allowHostPorts: false,
  readOnlyRootFilesystem: false,
  defaultAddCapabilities: [],
  fsGroup: { type: "RunAsAny" },
  supplementalGroups: { type: "RunAsAny" },
  seLinuxContext: { type: "MustRunAs" },
  groups: [],
}
const agentCapabilities = ["NET_ADMIN", "SYS_PTRACE", "SYS_ADMIN"]
/** What pods may mount that mount nothing of their node. */
const ordinaryVolumes = [
  ...["configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"],
]

/** A certificate of the service, by the issuer that was named or by one of ours. */
function certManager(values: Values): KubeObject[] {
  const {
    tls,
    namespace,
    service: { name },
  } = values
  if (!tls.certManager.enabled) return []
  const { createIssuer, issuer, issuerKind, issuerGroup } = tls.certManager
  return [
    ...(createIssuer ? certManagerIssuer(values) : []),
    object("cert-manager.io/v1", "Certificate", operatorName, values, {
      namespace,
      spec: {
        secretName: tls.secret,
        dnsNames: [`${name}.${namespace}.svc`, `${name}.${namespace}`, name],
        usages: ["digital signature", "key encipherment", "server auth"],
        privateKey: { rotationPolicy: "Always" },
        issuerRef: { name: issuer, kind: issuerKind, group: issuerGroup },
      },
    }),
  ]
}

/**
 * A CA of our own. A self-signed certificate would be its own CA: the API server would know each renewed one minutes before
 * the operator serves it, and refuse everything until then. The CA's key stays, so that the same holds when the CA is renewed.
 */
function certManagerIssuer(values: Values): KubeObject[] {
  const { namespace } = values
  const { issuer } = values.tls.certManager
  const authority = `${operatorName}-ca`
  return [
    object("cert-manager.io/v1", "Issuer", authority, values, { namespace, spec: { selfSigned: {} } }),
    object("cert-manager.io/v1", "Certificate", authority, values, {
      namespace,
      spec: {
        secretName: authority,
        isCA: true,
        commonName: authority,
        duration: authorityDuration,
        privateKey: { algorithm: "ECDSA", size: 256, rotationPolicy: "Never" },
        issuerRef: { name: authority, kind: "Issuer", group: "cert-manager.io" },
      },
    }),
    object("cert-manager.io/v1", "Issuer", issuer, values, { namespace, spec: { ca: { secretName: authority } } }),
  ]
}

/** Ten years. */
const authorityDuration = "87600h0m0s"
