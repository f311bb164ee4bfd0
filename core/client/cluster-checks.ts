import type { Config } from "../../config/load.ts"
import { chooseContainer, notUsable } from "../kube/containers.ts"
import { KubeError } from "../kube/errors.ts"
import { type Kube, openKube } from "../kube/kube.ts"
import type { Pod } from "../kube/objects.ts"
import { formatPermission, mayI, type Permission } from "../kube/permissions.ts"
import { podsOf } from "../kube/pods.ts"
import { fetchBy } from "../kube/proxy.ts"
import { podPath, resources } from "../kube/resources.ts"
import { formatTarget, type Target } from "../target.ts"
import type { Check } from "./doctor.ts"
import { refuseWhatNeedsTheOperator } from "./session/open.ts"
import { findOperator, type Operator } from "./session/operator/find.ts"
import type { OutOfService } from "./session/operator/out-of-service.ts"
import { requireFeatures } from "./session/operator/session.ts"
import { agentOptions, kubeOptions } from "./settings.ts"

/** A clock further off than this makes certificates and tokens fail, in seconds. */
const clockToleranceSeconds = 60
const enforceLabel = "pod-security.kubernetes.io/enforce"

/** What the cluster has to offer to this user. */
export function clusterChecks(config: Config): Check[] {
  let kube: Kube | undefined
  const cluster = () => (kube ??= openKube(kubeOptions(config)))
  const target: Target = config.target.path ?? { kind: "targetless" }
  const namespace = () => config.target.namespace ?? cluster().namespace
  const agentNamespace = () =>
    target.kind === "targetless" ? namespace() : (config.agent.namespace ?? cluster().namespace)
  let trouble: OutOfService | undefined
  let found: Promise<Operator | undefined> | undefined
  const operatorOf = () => (found ??= findOperator(cluster(), config, (why) => (trouble = why)))
  const operatorIfAny = async () => (config.operator === false ? undefined : await operatorOf().catch(() => undefined))
  /** For what matters only to whoever makes the agents. */
  const ofAgents = (name: string, run: () => Outcome): Check => ({
    name,
    run: async () =>
      (await operatorIfAny()) ? { state: "skipped", detail: "the operator makes the agents" } : await run(),
  })
  let isReached = true
  const first: Check = {
    name: "cluster",
    async run() {
      try {
        return await reach(cluster())
      } catch (thrown) {
        isReached = false
        throw thrown
      }
    },
  }
  const others: Check[] = [
    { name: "clock", run: () => compareClocks(cluster()) },
    {
      name: "operator",
      async run() {
        if (config.operator === false) return { state: "skipped", detail: "the configuration says operator: false" }
        const operator = await operatorOf()
        if (operator) return { state: "ok", detail: `version ${operator.description.spec.operator_version}` }
        if (trouble) {
          const detail = `out of service: ${trouble.reason}; sessions create an agent of their own`
          return { state: "warning", detail, next: trouble.next }
        }
        const detail = "there is none: sessions create an agent of their own"
        return config.operator === true
          ? { state: "problem", detail, next: "Ask the cluster's owner to install it, or leave out `operator: true`." }
          : { state: "ok", detail }
      },
    },
    {
      name: "permissions",
      async run() {
        const operator = await operatorIfAny()
        return operator
          ? checkOperatorPermissions(cluster(), operator, target, namespace())
          : checkPermissions(cluster(), config, target, namespace(), agentNamespace())
      },
    },
    {
      name: "target",
      async run() {
        const operator = config.operator === false ? undefined : await operatorOf().catch(() => "unknown" as const)
        if (operator === undefined) refuseWhatNeedsTheOperator(config, target)
        else if (operator !== "unknown") requireFeatures({ config, operator, target })
        return checkTarget(cluster(), target, namespace())
      },
    },
    ofAgents("pod security", () => checkPodSecurity(cluster(), config, target, agentNamespace())),
    ofAgents("agent image", () => checkImage(cluster(), config, agentNamespace())),
  ]
  return [
    first,
    ...others.map(({ name, run }) => ({
      name,
      run: async () =>
        isReached ? run() : ({ state: "skipped", detail: "the cluster cannot be asked" } satisfies Awaited<Outcome>),
    })),
  ]
}

type Outcome = ReturnType<Check["run"]>

async function reach(kube: Kube): Outcome {
  const { gitVersion } = await kube.request<{ gitVersion?: string }>("GET", "/version", {
    what: "get the version of the cluster",
  })
  return {
    state: "ok",
    detail: `Kubernetes ${gitVersion ?? "of unknown version"} at ${kube.server}, context "${kube.context}"`,
  }
}

async function compareClocks(kube: Kube): Outcome {
  const { url, headers, tls, proxy } = await kube.access()
  const answer = await fetchBy(proxy, `${url}/version`, { headers, tls })
  const theirs = Date.parse(answer.headers.get("date") ?? "")
  if (Number.isNaN(theirs)) return { state: "skipped", detail: "the API server does not tell its time" }
  const off = Math.round((Date.now() - theirs) / 1_000)
  if (Math.abs(off) <= clockToleranceSeconds) return { state: "ok", detail: "agrees with the API server's" }
  return {
    state: "warning",
    detail: `this machine is ${Math.abs(off)} s ${off > 0 ? "ahead of" : "behind"} the API server`,
    next: "Set this machine's clock: certificates and tokens are checked by it.",
  }
}

/** To find a target's pods. */
function targetPermissions(target: Target, namespace: string): Permission[] {
  const kind = target.kind !== "targetless" && target.kind !== "label" ? resources[target.kind] : undefined
  return [
    ...(kind ? [{ verb: "get", group: kind.group, resource: kind.resource, namespace }] : []),
    ...(target.kind === "targetless" || target.kind === "pod" ? [] : [{ verb: "list", resource: "pods", namespace }]),
  ]
}

/** What a session without an operator needs. */
export function neededPermissions(
  config: Config,
  target: Target,
  namespace: string,
  agentNamespace: string,
): Permission[] {
  const agents: Permission[] = config.agent.ephemeral
    ? [{ verb: "update", resource: "pods", subresource: "ephemeralcontainers", namespace }]
    : [{ verb: "create", group: "batch", resource: "jobs", namespace: agentNamespace }]
  const watched = config.agent.ephemeral ? namespace : agentNamespace
  return [
    ...targetPermissions(target, namespace),
    ...agents,
    { verb: "watch", resource: "pods", namespace: watched },
    config.agent.transport === "pod-proxy" ? podProxy(watched) : { ...podProxy(watched), subresource: "portforward" },
  ]
}

const podProxy = (namespace: string): Permission => ({ verb: "get", resource: "pods", subresource: "proxy", namespace })

/** With an operator a user needs rights in its API, and may see what is to be the target. */
async function checkOperatorPermissions(kube: Kube, operator: Operator, target: Target, namespace: string): Outcome {
  const group = "operator.metalbear.co"
  const needed: Permission[] = [
    ...targetPermissions(target, namespace),
    { verb: operator.supports("ProxyApi") ? "proxy" : "get", group, resource: "targets", namespace },
    operator.supports("ExtendableUserCredentials")
      ? { verb: "create", group, resource: "mirrordclusteroperatorusercredentials" }
      : { verb: "create", group, resource: "mirrordoperators", subresource: "certificate" },
  ]
  const missing = await missingOf(kube, needed)
  if (missing.length === 0) return { state: "ok", detail: "enough for a session with the operator" }
  return {
    state: "problem",
    detail: `not allowed: ${missing.map(formatPermission).join("; ")}`,
    next: "Ask the cluster's owner for these; the ClusterRole mirrord-operator-user has those of the operator.",
  }
}

async function missingOf(kube: Kube, needed: readonly Permission[]): Promise<Permission[]> {
  const answers = await Promise.all(needed.map((permission) => mayI(kube, permission)))
  return needed.filter((_, index) => !answers[index])
}

async function checkPermissions(
  kube: Kube,
  config: Config,
  target: Target,
  namespace: string,
  agentNamespace: string,
): Outcome {
  const needed = neededPermissions(config, target, namespace, agentNamespace)
  const shortCut = podProxy(config.agent.ephemeral ? namespace : agentNamespace)
  const [mayShorten, missing] = await Promise.all([mayI(kube, shortCut), missingOf(kube, needed)])
  if (missing.length === 0) {
    const detail = "enough for a session without an operator"
    if (mayShorten || config.agent.transport !== "auto") return { state: "ok", detail }
    return {
      state: "warning",
      detail: `${detail}; not allowed: ${formatPermission(shortCut)}, which would make it faster`,
      next: "Ask the cluster's owner for it: port-forwards go through the node's kubelet and container runtime.",
    }
  }
  return {
    state: "problem",
    detail: `not allowed: ${missing.map(formatPermission).join("; ")}`,
    next: "Ask the cluster's owner for these, or for an operator: it creates agents with its own permissions.",
  }
}

async function checkTarget(kube: Kube, target: Target, namespace: string): Outcome {
  if (target.kind === "targetless") return { state: "skipped", detail: "none is configured; name one with --target" }
  const pods = await podsOf(kube, target, namespace, { selectorIsEnough: true })
  const usable = pods.filter((pod) => !notUsable(pod, chooseContainer(pod, target.container).name))
  if (usable.length > 0)
    return { state: "ok", detail: `"${formatTarget(target)}" in ${namespace} has ${usable.length} ready pod(s)` }
  return {
    state: "problem",
    detail: `"${formatTarget(target)}" in ${namespace} has no ready pod`,
    next: "Look with `kubectl describe` why.",
  }
}

async function checkPodSecurity(kube: Kube, config: Config, target: Target, namespace: string): Outcome {
  if (target.kind === "targetless") return { state: "ok", detail: "an agent without a target has no privileges" }
  const found = await allowed(
    kube.request<Pod>("GET", `/api/v1/namespaces/${encodeURIComponent(namespace)}`, {
      what: `get namespaces "${namespace}"`,
    }),
  )
  if (!found)
    return { state: "skipped", detail: `namespaces may not be read, so what ${namespace} enforces is unknown` }
  const { metadata } = found
  const level = metadata.labels?.[enforceLabel]
  if (level === undefined || level === "privileged" || config.agent.ephemeral) {
    return { state: "ok", detail: `namespace ${namespace} ${level ? `enforces "${level}"` : "enforces nothing"}` }
  }
  return {
    state: "problem",
    detail: `namespace ${namespace} enforces "${level}", which refuses an agent's pod (host process ids, capabilities)`,
    next: `Use another namespace for agents: --agent-namespace, or label it ${enforceLabel}=privileged.`,
  }
}

/** Whether a node can pull an image is known only when it has; what can be said without one is who has it already. */
async function checkImage(kube: Kube, config: Config, namespace: string): Outcome {
  const { image, imagePullPolicy } = agentOptions(config)
  const pods = await allowed(
    kube.list<Pod>(podPath(namespace), {
      query: { labelSelector: "app=mirrord" },
      what: `list pods in ${namespace}`,
    }),
  )
  const failing = pods?.find((pod) =>
    pod.status?.containerStatuses?.some(({ state }) => /ImagePull|ErrImage/.test(state?.waiting?.reason ?? "")),
  )
  if (failing) {
    return {
      state: "problem",
      detail: `pod "${failing.metadata.name}" cannot pull ${image}`,
      next: "Check agent.image and agent.image_pull_secrets.",
    }
  }
  const nodes = await kube
    .list<{ status?: { images?: { names?: string[] }[] } }>("/api/v1/nodes", { what: "list nodes" })
    .catch(() => undefined)
  if (!nodes)
    return {
      state: "skipped",
      detail: `${image} (${imagePullPolicy}); nodes may not be read, so its presence is unknown`,
    }
  const has = nodes.filter((node) =>
    node.status?.images?.some(({ names }) => names?.some((name) => name === image || name.endsWith(`/${image}`))),
  )
  if (has.length === nodes.length) return { state: "ok", detail: `${image} is on every node` }
  return {
    state: imagePullPolicy === "Never" ? "problem" : "warning",
    detail: `${image} is on ${has.length} of ${nodes.length} nodes; the others have to pull it`,
    next: "Make sure that the nodes can reach its registry, or import it into them.",
  }
}

/** Undefined where the user may not look; a session does not need to. */
async function allowed<T>(answer: Promise<T>): Promise<T | undefined> {
  return answer.catch((thrown) => {
    if (thrown instanceof KubeError && thrown.status === 403) return undefined
    throw thrown
  })
}
