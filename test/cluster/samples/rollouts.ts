import { createHash } from "node:crypto"
import { errorText } from "../../../core/errors.ts"
import type { TestCluster } from "../use.ts"
import { deployment, type SampleOptions } from "./workloads.ts"

const group = "argoproj.io"

/** The Argo Rollouts resource, as far as targets need it: any fields, scale and status. */
export const rolloutDefinition = {
  apiVersion: "apiextensions.k8s.io/v1",
  kind: "CustomResourceDefinition",
  metadata: { name: `rollouts.${group}` },
  spec: {
    group,
    scope: "Namespaced",
    names: { kind: "Rollout", plural: "rollouts", singular: "rollout", shortNames: ["ro"] },
    versions: [
      {
        name: "v1alpha1",
        served: true,
        storage: true,
        schema: { openAPIV3Schema: { type: "object", "x-kubernetes-preserve-unknown-fields": true } },
        subresources: {
          status: {},
          scale: {
            specReplicasPath: ".spec.replicas",
            statusReplicasPath: ".status.replicas",
            labelSelectorPath: ".status.selector",
          },
        },
      },
    ],
  },
}

export const rollout = (name: string, options: SampleOptions = {}) => ({
  ...deployment(name, options),
  apiVersion: `${group}/v1alpha1`,
  kind: "Rollout",
})

const pauseMs = 500

/**
 * A stand-in for the Argo Rollouts controller, in the cluster's test namespace until disposed of: each Rollout owns a
 * ReplicaSet per template (its own or its `workloadRef`'s); the newest has the replicas, older ones none. No canary steps.
 */
export async function rolloutController(cluster: TestCluster): Promise<AsyncDisposable> {
  await cluster.apply(rolloutDefinition)
  await cluster.kubectl(
    "wait",
    "--for=condition=Established",
    `crd/${rolloutDefinition.metadata.name}`,
    "--timeout=110s",
  )
  let running = true
  const loop = (async () => {
    while (running) {
      try {
        for (const item of (await cluster.get("rollouts")).items) await reconcile(cluster, item)
      } catch (error) {
        // Conflicts and deletions under way: the next turn sees the new state.
        if (running) process.stderr.write(`rollout stand-in: ${errorText(error)}\n`)
      }
      await Bun.sleep(pauseMs)
    }
  })()
  return {
    async [Symbol.asyncDispose]() {
      running = false
      await loop
    },
  }
}

interface Rollout {
  apiVersion: string
  metadata: { name: string; uid: string; deletionTimestamp?: string }
  spec: {
    replicas?: number
    selector: { matchLabels: Record<string, string> }
    template?: { metadata?: { labels?: Record<string, string> }; spec: object }
    workloadRef?: { kind: string; name: string }
  }
}

async function reconcile(cluster: TestCluster, item: Rollout): Promise<void> {
  if (item.metadata.deletionTimestamp) return
  const { name, uid } = item.metadata
  const { workloadRef, replicas = 1, selector } = item.spec
  const template = workloadRef
    ? (await cluster.get(workloadRef.kind, workloadRef.name)).spec.template
    : item.spec.template
  const hash = createHash("sha256").update(JSON.stringify(template)).digest("hex").slice(0, 10)
  const label = { "rollouts-pod-template-hash": hash }
  const owned = (await cluster.get("replicasets")).items.filter(
    (set: { metadata: { ownerReferences?: { uid: string }[] } }) =>
      set.metadata.ownerReferences?.some((owner) => owner.uid === uid),
  )
  const newest = `${name}-${hash}`
  for (const old of owned) {
    if (old.metadata.name !== newest && old.spec.replicas > 0) {
      await cluster.kubectl("scale", "replicaset", old.metadata.name, "--replicas=0")
    }
  }
  const current = owned.find((set: { metadata: { name: string } }) => set.metadata.name === newest)
  if (current?.spec.replicas !== replicas) {
    await cluster.apply({
      apiVersion: "apps/v1",
      kind: "ReplicaSet",
      metadata: {
        name: newest,
        labels: { ...template.metadata?.labels, ...label },
        ownerReferences: [
          { apiVersion: item.apiVersion, kind: "Rollout", name, uid, controller: true, blockOwnerDeletion: true },
        ],
      },
      spec: {
        replicas,
        selector: { matchLabels: { ...selector.matchLabels, ...label } },
        template: {
          ...template,
          metadata: { ...template.metadata, labels: { ...template.metadata?.labels, ...label } },
        },
      },
    })
  }
  const ready = current?.status?.readyReplicas ?? 0
  const status = {
    replicas: current?.status?.replicas ?? 0,
    readyReplicas: ready,
    availableReplicas: ready,
    currentPodHash: hash,
    stableRS: hash,
    phase: ready === replicas ? "Healthy" : "Progressing",
    selector: Object.entries(selector.matchLabels)
      .map(([key, value]) => `${key}=${value}`)
      .join(","),
  }
  await cluster.kubectl(
    "patch",
    "rollout",
    name,
    "--subresource=status",
    "--type=merge",
    "-p",
    JSON.stringify({ status }),
  )
}
