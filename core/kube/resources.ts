import type { TargetKind } from "../target.ts"

/** Where a kind is served and how RBAC names it. */
export interface Resource {
  /** Empty for the core group. */
  group: string
  version: string
  resource: string
  kind: string
}

export const resources: Readonly<Record<TargetKind, Resource>> = {
  pod: { group: "", version: "v1", resource: "pods", kind: "Pod" },
  service: { group: "", version: "v1", resource: "services", kind: "Service" },
  deployment: { group: "apps", version: "v1", resource: "deployments", kind: "Deployment" },
  statefulset: { group: "apps", version: "v1", resource: "statefulsets", kind: "StatefulSet" },
  daemonset: { group: "apps", version: "v1", resource: "daemonsets", kind: "DaemonSet" },
  replicaset: { group: "apps", version: "v1", resource: "replicasets", kind: "ReplicaSet" },
  job: { group: "batch", version: "v1", resource: "jobs", kind: "Job" },
  cronjob: { group: "batch", version: "v1", resource: "cronjobs", kind: "CronJob" },
  rollout: { group: "argoproj.io", version: "v1alpha1", resource: "rollouts", kind: "Rollout" },
}

/** `/apis/apps/v1/namespaces/shop/deployments/api`; without name the collection, without namespace cluster-wide. */
export function resourcePath(of: Omit<Resource, "kind">, namespace?: string, name?: string): string {
  const root = of.group === "" ? `/api/${of.version}` : `/apis/${of.group}/${of.version}`
  const place = namespace === undefined ? "" : `/namespaces/${encodeURIComponent(namespace)}`
  return `${root}${place}/${of.resource}${name === undefined ? "" : `/${encodeURIComponent(name)}`}`
}

export const podPath = (namespace: string, name?: string): string => resourcePath(resources.pod, namespace, name)

/** Value of `Accept` for lists of which only the metadata is wanted: a fraction of the bytes. */
export const metadataOnly = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
