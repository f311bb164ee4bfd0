import type { RequestOptions } from "node:https"
import type { Cluster, KubeConfig } from "@kubernetes/client-node"
import { AppError, errorText } from "../errors.ts"
import type { LoadedKubeConfig } from "./kubeconfig.ts"
import { proxyFromEnvironment, proxyPlace } from "./proxy.ts"
import { bridgeTo, isSocks5 } from "./socks.ts"

const maxHintCharacters = 1_000

/** Everything a connection to the API server needs, whoever makes it. Valid for a moment: tokens are renewed. */
export interface ServerAccess {
  /** Without trailing slash; may have a path (Rancher and other gateways). */
  url: string
  headers: Record<string, string>
  /** Absent for a plain `http:` server. */
  tls?: ServerTls
  /** HTTP proxy to go through; for a SOCKS proxy one of this process that leads there. */
  proxy?: string
  /** The proxy as the user named it, without a login: for messages. */
  via?: string
}

export interface ServerTls {
  ca?: string
  cert?: string
  key?: string
  passphrase?: string
  serverName?: string
  rejectUnauthorized: boolean
}

/**
 * Asks the kubeconfig, its credential plugins and token files included, for what to present now.
 * @throws AppError "kube-auth-command" when a credential plugin fails, "kube-config" when a file cannot be read
 */
export async function resolveAccess({ config, impersonation }: LoadedKubeConfig): Promise<ServerAccess> {
  const cluster = config.getCurrentCluster()
  if (!cluster)
    throw new AppError("kube-config", "The kubeconfig has no current cluster", {
      next: "Choose a context with --context or `kubectl config use-context`.",
    })
  const options = await askConfig(config)
  const headers: Record<string, string> = {}
  for (const [name, value] of Object.entries(options.headers ?? {})) if (value) headers[name] = String(value)
  if (options.auth) headers["Authorization"] = `Basic ${Buffer.from(options.auth).toString("base64")}`
  if (impersonation) Object.assign(headers, impersonationHeaders(impersonation))
  const access: ServerAccess = { url: cluster.server, headers, ...(await wayTo(cluster)) }
  if (cluster.server.startsWith("https:")) {
    access.tls = {
      ca: text(options.ca),
      cert: text(options.cert),
      key: text(options.key),
      passphrase: options.passphrase,
      serverName: options.servername,
      rejectUnauthorized: options.rejectUnauthorized ?? true,
    }
  }
  return access
}

async function wayTo({ server, proxyUrl }: Cluster): Promise<Pick<ServerAccess, "proxy" | "via">> {
  const proxy = proxyUrl || proxyFromEnvironment(server)
  if (!proxy) return {}
  if (!URL.canParse(proxy)) {
    throw new AppError("kube-config", "The address of the proxy to the cluster is no URL", {
      next: "Check proxy-url in the kubeconfig, and HTTPS_PROXY: http://HOST:PORT, https:// or socks5://.",
    })
  }
  const { protocol } = new URL(proxy)
  if (!/^(https?|socks5h?):$/.test(protocol)) {
    throw new AppError("kube-config", `The proxy ${protocol}// to the cluster is of an unknown kind`, {
      next: "Use http://, https:// or socks5:// in proxy-url of the kubeconfig or HTTPS_PROXY.",
    })
  }
  return {
    proxy: isSocks5(proxy) ? await throughSocks(proxy, new URL(server)) : proxy,
    via: proxyPlace(proxy),
  }
}

function throughSocks(proxy: string, { protocol, hostname, port }: URL): Promise<string> {
  return bridgeTo(proxy, `${hostname}:${port || (protocol === "https:" ? 443 : 80)}`)
}

async function askConfig(config: KubeConfig): Promise<RequestOptions> {
  const options: RequestOptions = {}
  try {
    await config.applyToHTTPSOptions(options)
    return options
  } catch (thrown) {
    const command: string | undefined = config.getCurrentUser()?.exec?.command
    if (!command) {
      throw new AppError("kube-config", `The credentials of the kubeconfig cannot be used: ${errorText(thrown)}`, {
        cause: thrown,
        next: "Check with `kubectl get pods`.",
      })
    }
    const missing = typeof thrown === "object" && thrown !== null && "code" in thrown && thrown.code === "ENOENT"
    throw new AppError(
      "kube-auth-command",
      `The credential command "${command}" failed: ${errorText(thrown).trim() || "it said nothing"}`,
      {
        cause: thrown,
        next: missing
          ? (hintOf(config) ?? "Put it on the PATH, or write its absolute path into the kubeconfig.")
          : "Run it by hand, or log in to the cluster again.",
      },
    )
  }
}

/** What the kubeconfig's author wants somebody to read who lacks the command. */
function hintOf(config: KubeConfig): string | undefined {
  const hint: unknown = config.getCurrentUser()?.exec?.installHint
  return typeof hint === "string" && hint.trim() ? hint.trim().slice(0, maxHintCharacters) : undefined
}

function impersonationHeaders(of: NonNullable<LoadedKubeConfig["impersonation"]>): Record<string, string> {
  const headers: Record<string, string> = {}
  if (of.user) headers["Impersonate-User"] = of.user
  if (of.uid) headers["Impersonate-Uid"] = of.uid
  // A header that stands several times for Kubernetes cannot be joined by commas; more than one value is refused.
  const [group, ...more] = of.groups
  if (more.length > 0 || Object.values(of.extra).some((values) => values.length > 1)) {
    throw new AppError(
      "kube-config",
      "The kubeconfig impersonates with several groups or several values of one extra key",
      {
        next: "Use one `as-groups` entry and one value for each `as-user-extra` key.",
      },
    )
  }
  if (group) headers["Impersonate-Group"] = group
  for (const [key, [value]] of Object.entries(of.extra)) {
    if (value !== undefined) headers[`Impersonate-Extra-${encodeURIComponent(key)}`] = value
  }
  return headers
}

function text(pem: RequestOptions["ca"] | RequestOptions["key"]): string | undefined {
  if (pem === undefined) return undefined
  return Array.isArray(pem) ? pem.map(String).join("\n") : String(pem)
}
