import { stealTlsKinds } from "./steal-tls.ts"

/*
 * Who may do what: the one place rules are written. The chart and `podside operator setup` take them from here.
 */

export interface Rule {
  apiGroups: readonly string[]
  resources: readonly string[]
  resourceNames?: readonly string[]
  verbs: readonly string[]
}

const api = "operator.metalbear.co"
const read = ["get", "list", "watch"]

/** What a user needs in a namespace: its targets. Also as a Role, for users of some namespaces only. */
export const targetRules: readonly Rule[] = [
  { apiGroups: [api], resources: ["targets", "targets/port-locks"], verbs: ["get", "list"] },
  { apiGroups: [api], resources: ["targets"], verbs: ["proxy"] },
  // Neither is supported; whoever asks is to hear that from the operator, not that a right is missing.
  { apiGroups: [api], resources: ["copytargets"], verbs: ["get", "list", "create"] },
  { apiGroups: [api], resources: ["queuesplits"], verbs: ["get", "list"] },
  { apiGroups: [api], resources: ["sessions"], verbs: [...read, "delete", "deletecollection"] },
  { apiGroups: ["profiles.mirrord.metalbear.co"], resources: ["mirrordprofiles"], verbs: ["get", "list"] },
]

/** What every user needs of the whole cluster, wherever the targets are. */
export const basicRules: readonly Rule[] = [
  { apiGroups: [api], resources: ["mirrordoperators"], verbs: ["get", "list"] },
  { apiGroups: [api], resources: ["mirrordoperators/ping"], verbs: ["get"] },
  // Clients tell from it what an operator lacks that is out of service.
  {
    apiGroups: ["apiregistration.k8s.io"],
    resources: ["apiservices"],
    resourceNames: [`v1.${api}`],
    verbs: ["get"],
  },
  { apiGroups: [api], resources: ["mirrordoperators/certificate"], verbs: ["create"] },
  { apiGroups: [api], resources: ["mirrordclusteroperatorusercredentials"], verbs: ["create"] },
  // Not supported either.
  { apiGroups: [api], resources: ["events"], verbs: ["get", "list", "watch"] },
  { apiGroups: ["profiles.mirrord.metalbear.co"], resources: ["mirrordclusterprofiles"], verbs: ["get", "list"] },
]

/** What the operator needs of the whole cluster. `impersonate` and `review` are the modes of plugin rbac-impersonation. */
export const operatorRules: readonly Rule[] = [
  { apiGroups: [""], resources: ["pods", "services", "nodes"], verbs: read },
  { apiGroups: ["apps"], resources: ["deployments", "statefulsets", "replicasets", "daemonsets"], verbs: read },
  { apiGroups: ["batch"], resources: ["jobs", "cronjobs"], verbs: read },
  { apiGroups: ["argoproj.io"], resources: ["rollouts"], verbs: read },
  {
    apiGroups: [stealTlsKinds.namespaced.group],
    resources: [stealTlsKinds.namespaced.plural, stealTlsKinds.cluster.plural],
    verbs: ["get", "list"],
  },
  { apiGroups: [""], resources: ["pods"], verbs: ["create", "delete"] },
  { apiGroups: [""], resources: ["events"], verbs: ["create"] },
  {
    apiGroups: ["apiregistration.k8s.io"],
    resources: ["apiservices"],
    resourceNames: [`v1.${api}`],
    verbs: ["get", "patch"],
  },
]

/** Value agent.ephemeral: an agent may be added to any pod of the cluster. */
export const ephemeralRules: readonly Rule[] = [
  { apiGroups: [""], resources: ["pods/ephemeralcontainers"], verbs: ["patch"] },
]

/** `*` covers uids and extra keys of every name; nothing else is served in that group for this verb. */
export const impersonateRules: readonly Rule[] = [
  { apiGroups: [""], resources: ["users", "groups", "serviceaccounts"], verbs: ["impersonate"] },
  { apiGroups: ["authentication.k8s.io"], resources: ["*"], verbs: ["impersonate"] },
]

export const reviewRules: readonly Rule[] = [
  { apiGroups: ["authorization.k8s.io"], resources: ["subjectaccessreviews"], verbs: ["create"] },
]

/** What the operator needs in its own namespace: its state. */
export const ownNamespaceRules: readonly Rule[] = [
  { apiGroups: [""], resources: ["secrets"], verbs: ["get", "create", "update"] },
  {
    apiGroups: ["coordination.k8s.io"],
    resources: ["leases"],
    verbs: ["get", "list", "watch", "create", "update", "patch", "delete"],
  },
]

/** Where the API server says how it presents callers. */
export const authenticationRules: readonly Rule[] = [
  {
    apiGroups: [""],
    resources: ["configmaps"],
    resourceNames: ["extension-apiserver-authentication"],
    verbs: read,
  },
]
