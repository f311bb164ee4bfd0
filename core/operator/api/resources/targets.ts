import type { Context, Hono } from "hono"
import { AppError } from "../../../errors.ts"
import type { Kube } from "../../../kube/kube.ts"
import type { Pod, Workload } from "../../../kube/objects.ts"
import { read } from "../../../kube/pods.ts"
import { metadataOnly, resourcePath, resources } from "../../../kube/resources.ts"
import type { Target, TargetKind } from "../../../target.ts"
import type { Operator } from "../../operator.ts"
import { asksToConnect } from "../connect-params.ts"
import type { FrontDoorEnv } from "../front-door.ts"
import { assertNoWatch } from "../list-options.ts"
import { group, groupVersion } from "../resources.ts"
import { fieldSelector, labelSelector } from "../selectors.ts"
import { badRequest } from "../status.ts"
import { type ApiObject, answerList, answerObject } from "../table.ts"
import { configForm, parseTargetName, targetName } from "../target-name.ts"
import { splitUrl } from "../upgrade-request.ts"
import { usablePods } from "./usable-pods.ts"

const plural = "targets"
const root = `/apis/${groupVersion}`

/** Kinds a list shows, in this order. Services and jobs are targets too, but not what people look for. */
const listedKinds: readonly TargetKind[] = ["deployment", "statefulset", "daemonset", "replicaset", "rollout", "pod"]

export function addTargetRoutes(app: Hono<FrontDoorEnv>, operator: Operator): void {
  const get = async (c: Context<FrontDoorEnv>) => {
    const namespace = c.req.param("namespace")!
    const { incoming } = c.env
    const [, query] = splitUrl(incoming.url)
    if (asksToConnect(query, incoming.headers)) {
      throw badRequest("Connecting to a target needs a WebSocket upgrade")
    }
    const target = parseTargetName(c.req.param("name")!)
    await assertVisible(operator.asCaller(c.get("identity")), target, namespace)
    return answerObject(c, plural, targetObject(target, namespace))
  }
  app.get(`${root}/namespaces/:namespace/targets/:name`, get)
  app.get(`${root}/proxy/namespaces/:namespace/targets/:name`, get)
  app.get(`${root}/namespaces/:namespace/targets`, async (c) => {
    return answerList(c, plural, await selectedTargets(c, operator, c.req.param("namespace")))
  })
  app.get(`${root}/targets`, async (c) => answerList(c, plural, await selectedTargets(c, operator, undefined)))
}

const fields: Readonly<Record<string, (target: ApiObject) => string>> = {
  "metadata.name": ({ metadata }) => metadata.name,
  "metadata.namespace": ({ metadata }) => metadata.namespace ?? "",
}

/** @throws StatusError 400, 405, AppError */
async function selectedTargets(
  c: Context<FrontDoorEnv>,
  operator: Operator,
  namespace: string | undefined,
): Promise<ApiObject[]> {
  assertNoWatch(c, `${plural}.${group}`)
  const labels = c.req.query("labelSelector") || undefined
  // Labels are those of the workloads: Kubernetes selects by them, once it is clear that it will understand.
  labelSelector(labels)
  const hasFields = fieldSelector(c.req.query("fieldSelector"), fields)
  return (await visibleTargets(operator.asCaller(c.get("identity")), namespace, labels)).filter(hasFields)
}

function targetObject(target: Target, namespace: string): ApiObject {
  return { metadata: { name: targetName(target), namespace }, spec: { target: configForm(target) } }
}

/** @throws AppError "target-not-found", "container-not-found", "kube-forbidden" */
async function assertVisible(asCaller: Kube, target: Target, namespace: string): Promise<void> {
  if (target.kind === "targetless" || target.kind === "label") return
  const workload = await read<Workload>(asCaller, resources[target.kind], namespace, target.name)
  const containers = workload.spec?.template?.spec?.containers ?? (workload as unknown as Pod).spec?.containers
  if (!target.container || !containers || containers.some(({ name }) => name === target.container)) return
  throw new AppError("container-not-found", `"${target.name}" has no container "${target.container}"`, {
    next: `Choose one of: ${containers.map(({ name }) => name).join(", ")}.`,
  })
}

/** Refused to this caller, or not known to this cluster. */
const leftOut = new Set(["kube-forbidden", "kube-not-found"])

/** What of each kind the caller may list. A kind that is refused, or that the cluster does not have, is left out; all refused is a refusal. */
async function visibleTargets(
  asCaller: Kube,
  namespace: string | undefined,
  labels: string | undefined,
): Promise<ApiObject[]> {
  const lists = await Promise.all(
    listedKinds.map(async (kind) => {
      try {
        return await targetsOf(asCaller, kind, namespace, labels)
      } catch (thrown) {
        if (thrown instanceof AppError && leftOut.has(thrown.code)) return thrown
        throw thrown
      }
    }),
  )
  const refusals = lists.filter((list) => list instanceof AppError)
  const [refusal] = refusals.filter(({ code }) => code === "kube-forbidden")
  if (refusal && refusals.length === lists.length) throw refusal
  return lists.flatMap((list) => (list instanceof AppError ? [] : list))
}

/** Page by page, of which only names are kept: a namespace may have tens of thousands of pods. */
async function targetsOf(
  asCaller: Kube,
  kind: TargetKind,
  namespace: string | undefined,
  labels: string | undefined,
): Promise<ApiObject[]> {
  if (kind === "pod") {
    const pods = await usablePods(asCaller, namespace, labels)
    return pods.map((pod) => targetObject({ kind, name: pod.name }, pod.namespace))
  }
  const path = resourcePath(resources[kind], namespace)
  const what = `list ${resources[kind].resource} in ${namespace ?? "all namespaces"}`
  const targets: ApiObject[] = []
  for await (const page of asCaller.pages<Workload>(path, {
    what,
    headers: { Accept: metadataOnly },
    query: { labelSelector: labels },
  })) {
    for (const { metadata } of page) {
      if (!isWorthListing(kind, metadata)) continue
      const { name, namespace: own, creationTimestamp } = metadata
      const shown = targetObject({ kind, name }, own ?? namespace ?? "")
      targets.push({ ...shown, metadata: { ...shown.metadata, creationTimestamp } })
    }
  }
  return targets
}

/** Neither agents, nor the ReplicaSets that only serve a Deployment. */
function isWorthListing(kind: TargetKind, { labels, ownerReferences }: Workload["metadata"]): boolean {
  if (labels?.["app"] === "mirrord") return false
  return kind !== "replicaset" || !ownerReferences?.length
}
