import { BlockList, isIP } from "node:net"

/** What the runtime's `fetch` looks at by itself. */
const variables = ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY"] as const

/**
 * The proxy the usual variables name for a server, by the rules of kubectl: this machine is reached without, and `NO_PROXY` lists
 * names (with all below them), `.suffixes`, addresses and networks (`10.0.0.0/8`), each with or without a port, or `*`.
 */
export function proxyFromEnvironment(server: string, env: NodeJS.ProcessEnv = process.env): string | undefined {
  const { protocol, hostname, port } = new URL(server)
  const name = protocol === "https:" ? "HTTPS_PROXY" : "HTTP_PROXY"
  const proxy = env[name.toLowerCase()] || env[name]
  if (!proxy) return undefined
  const host = hostname.replace(/^\[|\]$/g, "")
  if (host === "localhost" || matches("127.0.0.0/8", host) || host === "::1") return undefined
  const ownPort = port || (protocol === "https:" ? "443" : "80")
  const exceptions = (env["no_proxy"] || env["NO_PROXY"] || "").split(",").map((entry) => entry.trim().toLowerCase())
  const isException = exceptions.some((entry) => {
    if (entry === "*") return true
    const [, bracketed, plain, onlyPort] = /^(?:\[([^\]]*)\]|([^:]*)):(\d+)$/.exec(entry) ?? []
    const without = bracketed ?? plain
    if (without === undefined) return matches(entry.replace(/^\[|\]$/g, ""), host)
    return onlyPort === ownPort && matches(without, host)
  })
  return isException ? undefined : withScheme(proxy)
}

function matches(entry: string, host: string): boolean {
  if (entry === "") return false
  if (isIP(host) === 0) {
    const suffix = entry.replace(/^\*/, "")
    return suffix.startsWith(".") ? host.endsWith(suffix) : host === suffix || host.endsWith(`.${suffix}`)
  }
  const [address = "", prefix] = entry.split("/")
  const kind = isIP(address)
  if (kind === 0) return false
  const bits = prefix === undefined ? (kind === 4 ? 32 : 128) : Number(prefix)
  if (!Number.isInteger(bits) || bits < 0 || bits > (kind === 4 ? 32 : 128)) return false
  const network = new BlockList()
  network.addSubnet(address, bits, kind === 4 ? "ipv4" : "ipv6")
  return network.check(host, isIP(host) === 4 ? "ipv4" : "ipv6")
}

/** `proxy.example:3128` is an HTTP proxy. */
const withScheme = (proxy: string) => (proxy.includes("://") ? proxy : `http://${proxy}`)

/** For messages: where it is, without the login it may hold. */
export function proxyPlace(proxy: string): string {
  const { protocol, host } = new URL(proxy)
  return `${protocol}//${host}`
}

/**
 * `fetch` by this proxy or, when it is undefined, by none. The runtime reads the variables itself in the moment of the call, by
 * rules of its own: it takes a proxy nobody told it, and leaves out one that it was told but `NO_PROXY` does not want.
 */
export function fetchBy(proxy: string | undefined, url: string | URL | Request, init: BunFetchRequestInit) {
  const hidden = variables.map((name) => [name, process.env[name]] as const).filter(([, value]) => value !== undefined)
  for (const [name] of hidden) delete process.env[name]
  try {
    return fetch(url, { ...init, proxy })
  } finally {
    for (const [name, value] of hidden) process.env[name] = value
  }
}
