import { isIP, isIPv4 } from "node:net"
import { errno, isLinuxError } from "../../core/linux/errno.ts"
import { ipv4Bytes, ipv6Bytes, ipv6Text } from "../../core/linux/socket-address.ts"
import type { LookupRecord } from "../../core/protocol/index.ts"
import { RefusedRequest } from "../response-error.ts"
import type { AgentSettings } from "../settings.ts"
import type { Surroundings } from "../target/target.ts"
import { BelievedReplies } from "./believed.ts"
import { candidates, type HostsEntry, lookUpHosts, parseHosts, parseResolvConf, type ResolverConfig } from "./config.ts"
import { askServer, type Failure } from "./exchange.ts"
import { type QueryType, type Reply, recordType } from "./message.ts"
import { TargetFile } from "./target-file.ts"

/** Which addresses are wanted; `any`: IPv6 only when there is no IPv4 one. */
export type Wanted = "ipv4" | "ipv6" | "both" | "any"

const noError = 0
const noSuchName = 3

type Lookup = LookupRecord[]

/** Resolves as a program in the target would: its files, as they are each time, and its network. */
export class Resolver {
  readonly #surroundings: Surroundings
  readonly #believed = new BelievedReplies()
  readonly #config: TargetFile<ResolverConfig>
  readonly #hosts = new TargetFile("/etc/hosts", parseHosts)

  constructor(surroundings: Surroundings, { dnsTimeoutSeconds, dnsAttempts }: AgentSettings) {
    this.#surroundings = surroundings
    this.#config = new TargetFile("/etc/resolv.conf", (text) => {
      const config = parseResolvConf(text)
      if (dnsTimeoutSeconds !== undefined) config.timeoutSeconds = dnsTimeoutSeconds
      if (dnsAttempts !== undefined) config.attempts = Math.max(1, dnsAttempts)
      return config
    })
  }

  /** Never empty. @throws RefusedRequest "DnsLookup" */
  async lookUp(name: string, wanted: Wanted): Promise<Lookup> {
    const { config, hosts } = this.#read()
    if (wanted !== "any") return found(await this.#search(name, wanted, config, hosts))
    const ipv4 = await this.#search(name, "ipv4", config, hosts)
    return Array.isArray(ipv4) && ipv4.length > 0 ? ipv4 : found(await this.#search(name, "ipv6", config, hosts))
  }

  /** The name of an address, without the trailing dot. @throws RefusedRequest "DnsLookup" */
  async reverse(ip: string): Promise<string> {
    const { config, hosts } = this.#read()
    const listed = hosts.find((entry) => entry.ip === ip)?.names[0]
    if (listed) return listed
    const reply = await this.#ask(reverseName(ip), recordType.PTR, config)
    if (typeof reply === "string") throw failed(reply)
    const name = reply.answers.find(({ type }) => type === recordType.PTR)?.data
    if (typeof name !== "string") throw noRecords(reply.code)
    return name.replace(/\.$/, "")
  }

  #read(): { config: ResolverConfig; hosts: HostsEntry[] } {
    const { namesRootFd } = this.#surroundings
    return { config: readOf(this.#config, namesRootFd), hosts: readOf(this.#hosts, namesRootFd) }
  }

  /** Records, or the response code that says why there are none. @throws RefusedRequest */
  async #search(
    name: string,
    wanted: Exclude<Wanted, "any">,
    config: ResolverConfig,
    hosts: readonly HostsEntry[],
  ): Promise<Lookup | number> {
    if (isIP(name)) return isWanted(name, wanted) ? [{ name, ip: name }] : noError
    const listed = lookUpHosts(hosts, name).filter((ip) => isWanted(ip, wanted))
    if (listed.length > 0) return listed.map((ip) => ({ name, ip }))
    if (config.servers.length === 0) throw failed("unreachable")
    const types =
      wanted === "both" ? [recordType.A, recordType.AAAA] : [wanted === "ipv4" ? recordType.A : recordType.AAAA]
    const ask = (candidate: string) => {
      const replies = Promise.all(types.map((type) => this.#ask(candidate, type, config)))
      // A failure counts when its turn comes.
      replies.catch(() => {})
      return replies
    }
    const [first, ...others] = candidates(name, config)
    // A name of one word, and one that is tried as it is first, are nearly always found at once. Of the others several are wrong:
    // all are asked about side by side, and the first one in their order that exists counts.
    const isLikelyFirst = !name.includes(".") || first === `${name}.`
    const asked: ReturnType<typeof ask>[] = isLikelyFirst ? [] : [first!, ...others].map(ask)
    let code = noSuchName
    for (let index = 0; index <= others.length; index++) {
      if (index === 0 && isLikelyFirst) asked.push(ask(first!))
      else if (index === 1 && isLikelyFirst) asked.push(...others.map(ask))
      const replies = await asked[index]!
      const records = replies.flatMap((reply) => (typeof reply === "string" ? [] : addresses(reply)))
      if (records.length > 0) return records
      const failure = replies.find((reply) => typeof reply === "string")
      // A server that does not answer for one candidate may answer for none: what a program would be told is this.
      if (failure !== undefined && failure !== "bad-name") throw failed(failure as Failure)
      const codes = replies.flatMap((reply) => (typeof reply === "string" ? [] : [reply.code]))
      // "There is such a name" says more than a server's fault, and that more than "no such name".
      if (codes.includes(noError)) code = noError
      else if (code === noSuchName) code = codes[0] ?? code
    }
    return code
  }

  /** Server after server, then all again, as often as configured. A refusal by one server sends us to the next. */
  async #ask(
    name: string,
    type: QueryType,
    { servers, attempts, timeoutSeconds }: ResolverConfig,
  ): Promise<Reply | Failure> {
    let last: Reply | Failure = "unreachable"
    const known = this.#believed.get(servers, name, type)
    if (known) return known
    for (let attempt = 0; attempt < attempts; attempt++) {
      for (const server of servers) {
        const reply = await askServer(server, name, type, timeoutSeconds * 1000, this.#surroundings)
        if (reply === "bad-name") return reply
        if (typeof reply !== "string" && (reply.code === noError || reply.code === noSuchName)) {
          this.#believed.keep(servers, name, type, reply)
          return reply
        }
        if (typeof reply !== "string" || typeof last === "string") last = reply
      }
    }
    return last
  }
}

/** A file that may be missing, for reasons the protocol has words for. @throws RefusedRequest */
function readOf<T>(file: TargetFile<T>, rootFd: number): T {
  try {
    return file.read(rootFd)
  } catch (thrown) {
    if (isLinuxError(thrown, errno.ENOENT)) throw dnsError({ kind: "NotFound" })
    // The protocol's PermissionDenied would make the client end its whole session.
    const code = (thrown as { code?: string }).code ?? "not readable"
    throw dnsError({ kind: "Message", value: `${file.path} of the target: ${code}` })
  }
}

function addresses({ answers }: Reply): Lookup {
  return answers.flatMap(({ name, data }) =>
    typeof data === "string" ? [] : [{ name, ip: data.length === 4 ? data.join(".") : ipv6Text(data) }],
  )
}

function isWanted(ip: string, wanted: Exclude<Wanted, "any">): boolean {
  return wanted === "both" || isIPv4(ip) === (wanted === "ipv4")
}

function reverseName(ip: string): string {
  if (isIPv4(ip)) return `${[...ipv4Bytes(ip)].reverse().join(".")}.in-addr.arpa.`
  const nibbles = [...Buffer.from(ipv6Bytes(ip)).toString("hex")]
  return `${nibbles.reverse().join(".")}.ip6.arpa.`
}

function found(result: Lookup | number): Lookup {
  if (typeof result === "number") throw noRecords(result)
  return result
}

function noRecords(code: number): RefusedRequest {
  return dnsError({ kind: "NoRecordsFound", value: code })
}

function failed(failure: Failure): RefusedRequest {
  if (failure === "bad-name") return noRecords(noSuchName)
  return dnsError({ kind: failure === "timeout" ? "Timeout" : "NoConnections" })
}

type DnsErrorKind = Extract<ConstructorParameters<typeof RefusedRequest>[0], { kind: "DnsLookup" }>["value"]["kind"]

function dnsError(kind: DnsErrorKind): RefusedRequest {
  return new RefusedRequest({ kind: "DnsLookup", value: { kind } })
}
