import { existsSync, readFileSync } from "node:fs"
import { homedir } from "node:os"
import { delimiter, dirname, join, resolve } from "node:path"
import { type Cluster, type Context, KubeConfig, type User } from "@kubernetes/client-node"
import * as v from "valibot"
import { parse } from "yaml"
import { AppError, fileFault } from "../errors.ts"

export interface KubeOptions {
  /** Paths separated as in PATH; `~` and `$NAME` are expanded. Default: `KUBECONFIG`, `~/.kube/config`, then in-cluster. */
  kubeconfig?: string
  /** Name of a context. Default: the current one. */
  context?: string
  /** True: do not verify the API server's certificate. Undefined: the kubeconfig decides. */
  acceptInvalidCertificates?: boolean
  /** Never look for files: the service account of the pod we run in. */
  inCluster?: boolean
}

/** What `kubectl` would send as `Impersonate-*`, from a user entry. */
export interface ConfiguredImpersonation {
  user?: string
  uid?: string
  groups: string[]
  extra: Record<string, string[]>
}

export interface LoadedKubeConfig {
  config: KubeConfig
  impersonation?: ConfiguredImpersonation
}

const inClusterToken = "/var/run/secrets/kubernetes.io/serviceaccount/token"
const maxKubeconfigBytes = 4 << 20

/** The keys client-node does not read, or reads by another name than kubectl. */
const rawUser = v.object({
  name: v.string(),
  user: v.nullish(
    v.object({
      tokenFile: v.optional(v.string()),
      as: v.optional(v.string()),
      "as-uid": v.optional(v.string()),
      "as-groups": v.optional(v.array(v.string())),
      "as-user-extra": v.optional(v.record(v.string(), v.array(v.string()))),
      exec: v.nullish(v.object({ command: v.string("exec.command of a user is no text") })),
    }),
  ),
})
const rawConfig = v.object({ users: v.nullish(v.array(rawUser)), "current-context": v.nullish(v.string()) })
type RawUser = v.InferOutput<typeof rawUser>

/** @throws AppError "kube-config" */
export function loadKubeConfig(options: KubeOptions = {}): LoadedKubeConfig {
  const files = options.inCluster ? [] : kubeconfigFiles(options)
  if (files.length === 0) return inCluster(options)
  const clusters: Cluster[] = []
  const users: User[] = []
  const contexts: Context[] = []
  const rawUsers: RawUser[] = []
  let current: string | undefined
  // As kubectl merges: the first file to name something wins.
  for (const file of files) {
    const { config, raw } = readFile(file)
    for (const entry of config.clusters) if (!has(clusters, entry.name)) clusters.push(entry)
    for (const entry of config.users) if (!has(users, entry.name)) users.push(entry)
    for (const entry of config.contexts) if (!has(contexts, entry.name)) contexts.push(entry)
    for (const entry of raw.users ?? []) if (!has(rawUsers, entry.name)) rawUsers.push(entry)
    current ||= raw["current-context"] ?? undefined
  }
  const name = options.context ?? current
  const context = contexts.find((entry) => entry.name === name)
  if (!name || !context) {
    throw broken(name ? `there is no context "${name}"` : "no current context is set", files, {
      next: `Choose one with --context: ${contexts.map((entry) => entry.name).join(", ") || "the kubeconfig has none"}.`,
    })
  }
  const cluster = clusters.find((entry) => entry.name === context.cluster)
  const user = users.find((entry) => entry.name === context.user)
  if (!cluster) throw broken(`context "${name}" names the cluster "${context.cluster}", which is not there`, files)
  if (!user && context.user)
    throw broken(`context "${name}" names the user "${context.user}", which is not there`, files)
  const raw = rawUsers.find((entry) => entry.name === context.user)?.user
  const config = new KubeConfig()
  config.loadFromOptions({
    clusters: [withVerification(cluster, options)],
    users: user ? [{ ...user, exec: withClusterInfo(user.exec), ...tokenOf(raw?.tokenFile, files) }] : [],
    contexts: [context],
    currentContext: name,
  })
  return { config, impersonation: impersonationOf(raw) }
}

function kubeconfigFiles(options: KubeOptions): string[] {
  const given = options.kubeconfig ?? (process.env["KUBECONFIG"] || undefined)
  if (given === undefined) {
    const usual = join(homedir(), ".kube", "config")
    return existsSync(usual) ? [usual] : []
  }
  const files = given.split(delimiter).filter(Boolean).map(expand)
  const existing = files.filter((file) => existsSync(file))
  if (existing.length === 0) throw broken("there is no such file", files)
  return existing
}

function expand(path: string): string {
  const home = path === "~" || path.startsWith("~/") ? homedir() + path.slice(1) : path
  return home.replaceAll(/\$(?:(\w+)|\{(\w+)\})/g, (_, plain, braced) => process.env[plain ?? braced] ?? "")
}

function readFile(file: string) {
  try {
    const text = readFileSync(file, "utf8")
    if (text.length > maxKubeconfigBytes) throw new Error(`larger than ${maxKubeconfigBytes} bytes`)
    const raw = v.parse(rawConfig, parse(text, { maxAliasCount: 100 }))
    const config = new KubeConfig()
    config.loadFromString(text)
    // Paths are relative to the file they stand in, also where several files are one.
    const folder = dirname(resolve(file))
    config.makePathsAbsolute(folder)
    for (const user of config.users) {
      const command = user.exec?.command
      if (command?.includes("/")) user.exec.command = resolve(folder, command)
    }
    for (const { user } of raw.users ?? []) if (user?.tokenFile) user.tokenFile = resolve(folder, user.tokenFile)
    return { config, raw }
  } catch (thrown) {
    throw broken(fileFault(thrown), [file], { cause: thrown })
  }
}

function inCluster(options: KubeOptions): LoadedKubeConfig {
  if (!existsSync(inClusterToken) || !process.env["KUBERNETES_SERVICE_HOST"]) {
    throw new AppError("kube-config", "There is no kubeconfig and this is not a pod with a service account", {
      next: "Name a kubeconfig with KUBECONFIG or the configuration key `kubeconfig`.",
    })
  }
  const config = new KubeConfig()
  config.loadFromCluster()
  config.clusters = config.clusters.map((entry) => withVerification(entry, options))
  return { config }
}

function withVerification(cluster: Cluster, options: KubeOptions): Cluster {
  if (options.acceptInvalidCertificates === undefined) return cluster
  return { ...cluster, skipTLSVerify: options.acceptInvalidCertificates }
}

/** Credential plugins expect to be told the form of the answer; the library runs them without. */
function withClusterInfo(exec: { apiVersion?: string; env?: { name: string; value: string }[] } | null | undefined) {
  if (!exec) return exec
  const info = { apiVersion: exec.apiVersion, kind: "ExecCredential", spec: { interactive: false } }
  return { ...exec, env: [...(exec.env ?? []), { name: "KUBERNETES_EXEC_INFO", value: JSON.stringify(info) }] }
}

function tokenOf(path: string | undefined, files: string[]): { token?: string } {
  if (!path) return {}
  try {
    return { token: readFileSync(path, "utf8").trim() }
  } catch (thrown) {
    throw broken(`cannot read the token file ${path}`, files, { cause: thrown })
  }
}

function impersonationOf(raw: RawUser["user"]): ConfiguredImpersonation | undefined {
  if (!raw?.as && !raw?.["as-groups"]?.length) return undefined
  return { user: raw.as, uid: raw["as-uid"], groups: raw["as-groups"] ?? [], extra: raw["as-user-extra"] ?? {} }
}

const has = (list: { name: string }[], name: string) => list.some((entry) => entry.name === name)

function broken(why: string, files: string[], extra: { cause?: unknown; next?: string } = {}): AppError {
  return new AppError("kube-config", `The kubeconfig ${files.join(", ")} cannot be used: ${why}`, {
    cause: extra.cause,
    next: extra.next ?? "Check with `kubectl config view` and `kubectl get pods`.",
  })
}
