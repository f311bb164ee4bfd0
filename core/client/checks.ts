import { readFileSync } from "node:fs"
import { release } from "node:os"
import type { Config } from "../../config/load.ts"
import { chooseContainer, notUsable } from "../kube/containers.ts"
import { type Kube, openKube } from "../kube/kube.ts"
import type { Pod } from "../kube/objects.ts"
import { formatPermission, mayI, type Permission } from "../kube/permissions.ts"
import { podsOf } from "../kube/pods.ts"
import { fetchBy } from "../kube/proxy.ts"
import { podPath, resources } from "../kube/resources.ts"
import { formatTarget, type Target } from "../target.ts"
import type { Check } from "./doctor.ts"
import type { Engine } from "./engine.ts"
import { findOperator } from "./session/operator/find.ts"
import type { OutOfService } from "./session/operator/out-of-service.ts"
import { agentOptions, kubeOptions } from "./settings.ts"

/** A clock further off than this makes certificates and tokens fail, in seconds. */
const clockToleranceSeconds = 60
const enforceLabel = "pod-security.kubernetes.io/enforce"

/** Content of a file of this machine; undefined when it cannot be read. */
type ReadText = (path: string) => string | undefined

/** What this machine has to offer. */
export function machineChecks(
  engine: Pick<Engine, "unavailable" | "restriction">,
  textOf: ReadText = readText,
): Check[] {
  return [
    {
      name: "process engine",
      async run() {
        const lack = await engine.unavailable()
        if (lack) return { state: "problem", detail: lack.reason, next: lack.next }
        const restriction = await engine.restriction()
        if (restriction !== undefined) return { state: "warning", detail: `works, with limits: ${restriction}` }
        return {
          state: "ok",
          detail: `seccomp notification works on ${process.platform} ${release()}, ${process.arch}`,
        }
      },
    },
    {
      name: "ptrace scope",
      async run() {
        const scope = textOf("/proc/sys/kernel/yama/ptrace_scope")
        if (scope === undefined) return { state: "ok", detail: "this kernel has no Yama" }
        if (Number(scope) < 2) return { state: "ok", detail: `kernel.yama.ptrace_scope is ${scope}` }
        return {
          state: "warning",
          detail: `kernel.yama.ptrace_scope is ${scope}`,
          next: "Set it to 1: sudo sysctl kernel.yama.ptrace_scope=1",
        }
      },
    },
    {
      name: "user namespaces",
      async run() {
        const most = Number(textOf("/proc/sys/user/max_user_namespaces") ?? 0)
        const refused = textOf("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") === "1"
        if (most > 0 && !refused) return { state: "ok", detail: "allowed; only `npm run demo` uses them" }
        return { state: "warning", detail: "not allowed for ordinary users; sessions do not need them, the demo does" }
      },
    },
  ]
}

/** What the cluster has to offer to this user. */
export function clusterChecks(config: Config): Check[] {
  let kube: Kube | undefined
  const cluster = () => (kube ??= openKube(kubeOptions(config)))
  const target: Target = config.target.path ?? { kind: "targetless" }
  const namespace = () => config.target.namespace ?? cluster().namespace
  const agentNamespace = () =>
    target.kind === "targetless" ? namespace() : (config.agent.namespace ?? cluster().namespace)
  return [
    { name: "cluster", run: () => reach(cluster()) },
    { name: "clock", run: () => compareClocks(cluster()) },
    {
      name: "operator",
      async run() {
        if (config.operator === false) return { state: "skipped", detail: "the configuration says operator: false" }
        let trouble: OutOfService | undefined
        const operator = await findOperator(cluster(), config, (why) => {
          trouble = why
        })
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
    { name: "permissions", run: () => checkPermissions(cluster(), config, target, namespace(), agentNamespace()) },
    { name: "target", run: () => checkTarget(cluster(), target, namespace()) },
    { name: "pod security", run: () => checkPodSecurity(cluster(), config, target, agentNamespace()) },
    { name: "agent image", run: () => checkImage(cluster(), config, agentNamespace()) },
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

/** What a session without an operator needs; those of the target are the same with one. */
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
  const kind = target.kind !== "targetless" && target.kind !== "label" ? resources[target.kind] : undefined
  return [
    ...(kind ? [{ verb: "get", group: kind.group, resource: kind.resource, namespace }] : []),
    ...(target.kind === "targetless" || target.kind === "pod" ? [] : [{ verb: "list", resource: "pods", namespace }]),
    ...agents,
    { verb: "watch", resource: "pods", namespace: watched },
    config.agent.transport === "pod-proxy" ? podProxy(watched) : { ...podProxy(watched), subresource: "portforward" },
  ]
}

const podProxy = (namespace: string): Permission => ({ verb: "get", resource: "pods", subresource: "proxy", namespace })

async function checkPermissions(
  kube: Kube,
  config: Config,
  target: Target,
  namespace: string,
  agentNamespace: string,
): Outcome {
  const needed = neededPermissions(config, target, namespace, agentNamespace)
  const shortCut = podProxy(config.agent.ephemeral ? namespace : agentNamespace)
  const [mayShorten, ...answers] = await Promise.all([shortCut, ...needed].map((permission) => mayI(kube, permission)))
  const missing = needed.filter((_, index) => !answers[index])
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
  const { metadata } = await kube.request<Pod>("GET", `/api/v1/namespaces/${encodeURIComponent(namespace)}`, {
    what: `get namespaces "${namespace}"`,
  })
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
  const pods = await kube.list<Pod>(podPath(namespace), {
    query: { labelSelector: "app=mirrord" },
    what: `list pods in ${namespace}`,
  })
  const failing = pods.find((pod) =>
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

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8").trim()
  } catch {
    return undefined
  }
}
