import { isIP } from "node:net"

/** What /etc/resolv.conf says (resolv.conf(5)), with its limits. */
export interface ResolverConfig {
  /** In the order of the file. */
  servers: string[]
  /** Names of domains, with a final dot or without, or "." alone. */
  search: string[]
  /** Names with at least so many dots are tried as they are first. */
  ndots: number
  timeoutSeconds: number
  attempts: number
}

/** glibc takes 3; more cost only time. */
const maxServers = 8
const maxSearch = 32
const maxNdots = 15
const maxTimeoutSeconds = 30
const maxAttempts = 5

export function parseResolvConf(text: string): ResolverConfig {
  const config: ResolverConfig = { servers: [], search: [], ndots: 1, timeoutSeconds: 5, attempts: 2 }
  for (const line of text.split("\n")) {
    const [keyword, ...words] = line
      .replace(/[#;].*/, "")
      .trim()
      .split(/\s+/)
    // A zone such as %eth0 means nothing outside the file; Kubernetes writes none.
    if (keyword === "nameserver" && words[0] && isIP(words[0].split("%")[0]!))
      config.servers.push(words[0].split("%")[0]!)
    if (keyword === "search") config.search = words.filter(isDomain)
    if (keyword === "domain" && words[0]) config.search = [words[0]].filter(isDomain)
    if (keyword === "options") for (const option of words) readOption(config, option)
  }
  config.servers = config.servers.slice(0, maxServers)
  config.search = config.search.slice(0, maxSearch)
  return config
}

const maxNameBytes = 255
const isDomain = (word: string) => word.length <= maxNameBytes && (word === "." || /^[\w-]+(\.[\w-]+)*\.?$/.test(word))

function readOption(config: ResolverConfig, option: string): void {
  const [, name, digits] = /^(ndots|timeout|attempts):(\d{1,6})$/.exec(option) ?? []
  const value = Number(digits)
  if (name === "ndots") config.ndots = Math.min(value, maxNdots)
  if (name === "timeout") config.timeoutSeconds = Math.min(Math.max(value, 1), maxTimeoutSeconds)
  if (name === "attempts") config.attempts = Math.min(Math.max(value, 1), maxAttempts)
}

/** The full names to try, in order. */
export function candidates(name: string, { search, ndots }: ResolverConfig): string[] {
  if (name.endsWith(".")) return [name]
  const dots = name.split(".").length - 1
  const searched = search.map((domain) => (domain === "." ? `${name}.` : `${name}.${domain.replace(/\.$/, "")}.`))
  return dots >= ndots ? [`${name}.`, ...searched] : [...searched, `${name}.`]
}
