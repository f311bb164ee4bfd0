import { isIP, isIPv4 } from "node:net"
import { BelievedAnswers, type Perishable } from "../../core/believed.ts"
import { errno, isLinuxError } from "../../core/linux/errno.ts"
import { ipv4Bytes, ipv4Text, ipv6Bytes, ipv6Text } from "../../core/linux/socket-address.ts"
import type { LookupRecord } from "../../core/protocol/index.ts"
import { candidates, parseResolvConf, type ResolverConfig } from "../../core/resolv-conf.ts"
import { RefusedRequest } from "../response-error.ts"
import type { AgentSettings } from "../settings.ts"
import type { Surroundings } from "../target/target.ts"
import { Exchanges } from "./exchange.ts"
import { type HostsEntry, lookUpHosts, parseHosts } from "./hosts.ts"
import { type Failure, type QueryType, type Reply, recordType } from "./message.ts"
import { TargetFile } from "./target-file.ts"

/** Which addresses are wanted; `any`: IPv6 only when there is no IPv4 one. */
export type Wanted = "ipv4" | "ipv6" | "both" | "any"

const noError = 0
const noSuchName = 3

/** Answers kept, and the most records one may have for it: a few MiB in all. */
const maxKept = 1024
const maxKeptRecords = 32

/** What a lookup came to; it would come to the same for a while. */
export interface Finding extends Perishable {
  records: LookupRecord[]
  /** Response code: without records it says why. */
  code: number
  /** Response codes of the full names tried, in their order; none when servers were not needed. */
  codes: number[]
}

type KnownReply = Reply & Perishable

/** What was found here, or shall be looked for each time. */
const found = (records: LookupRecord[], code = noError): Finding => ({ records, code, codes: [], until: 0 })

/**
 * Resolves as a program in the target would: its files, as they are each time, and its network. What servers said is believed for as long
 * as it holds and the files are the same, a second at most, as by a caching stub resolver.
 */
export class Resolver {
  readonly #surroundings: Surroundings
  readonly #exchanges: Exchanges
  readonly #keepsNames: boolean
  readonly #believed = new BelievedAnswers<Finding>(maxKept)
  readonly #resolvConf: TargetFile<ResolverConfig>
  readonly #hostsFile = new TargetFile("/etc/hosts", parseHosts)
  #config: ResolverConfig | undefined
  #hosts: HostsEntry[] = []

  constructor(surroundings: Surroundings, { dnsTimeoutSeconds, dnsAttempts, keepNames }: AgentSettings) {
    this.#surroundings = surroundings
    this.#exchanges = new Exchanges(surroundings)
    this.#keepsNames = keepNames
    this.#resolvConf = new TargetFile("/etc/resolv.conf", (text) => {
      const config = parseResolvConf(text)
      if (dnsTimeoutSeconds !== undefined) config.timeoutSeconds = dnsTimeoutSeconds
      if (dnsAttempts !== undefined) config.attempts = Math.max(1, dnsAttempts)
      return config
    })
  }

  /** At once when it is known. @throws RefusedRequest "DnsLookup" when there is no answer */
  lookUp(name: string, wanted: Wanted): Finding | Promise<Finding> {
    const { config, hosts } = this.#read()
    const key = `${wanted} ${name.toLowerCase()}`
    return this.#believed.get(key) ?? this.#find(key, name, wanted, config, hosts)
  }

  /** How much longer it would be found so, in milliseconds. */
  left(finding: Finding): number {
    return this.#believed.left(finding)
  }

  /** The name of an address, without the trailing dot. @throws RefusedRequest "DnsLookup" */
  async reverse(ip: string): Promise<string> {
    const { config, hosts } = this.#read()
    const listed = hosts.find((entry) => entry.ip === ip)?.names[0]
    if (listed) return listed
    const key = `reverse ${ip}`
    const known = this.#believed.get(key)?.records[0]?.name
    if (known) return known
    const reply = await this.#ask(reverseName(ip), recordType.PTR, config)
    if (typeof reply === "string") throw failed(reply)
    const { code, until, answers } = reply
    const full = answers.find(({ type }) => type === recordType.PTR)?.data
    if (typeof full !== "string") throw noRecords(code)
    const name = full.replace(/\.$/, "")
    this.#believed.keep(key, { records: [{ name, ip }], code, codes: [], until })
    return name
  }

  /** What was found with other files counts no more. */
  #read(): { config: ResolverConfig; hosts: HostsEntry[] } {
    const { namesRootFd } = this.#surroundings
    const config = readOf(this.#resolvConf, namesRootFd)
    const hosts = readOf(this.#hostsFile, namesRootFd)
    if (config !== this.#config || hosts !== this.#hosts) this.#believed.clear()
    this.#config = config
    this.#hosts = hosts
    return { config, hosts }
  }

  async #find(
    key: string,
    name: string,
    wanted: Wanted,
    config: ResolverConfig,
    hosts: readonly HostsEntry[],
  ): Promise<Finding> {
    const finding = await this.#findAny(name, wanted, config, hosts)
    const isCurrent = config === this.#config && hosts === this.#hosts
    if (isCurrent && finding.records.length <= maxKeptRecords) this.#believed.keep(key, finding)
    return finding
  }

  async #findAny(name: string, wanted: Wanted, config: ResolverConfig, hosts: readonly HostsEntry[]): Promise<Finding> {
    if (wanted !== "any") return this.#search(name, wanted, config, hosts)
    const ipv4 = await this.#search(name, "ipv4", config, hosts)
    if (ipv4.records.length > 0) return ipv4
    const ipv6 = await this.#search(name, "ipv6", config, hosts)
    return { ...ipv6, until: Math.min(ipv4.until, ipv6.until) }
  }

  /** @throws RefusedRequest */
  async #search(
    name: string,
    wanted: Exclude<Wanted, "any">,
    config: ResolverConfig,
    hosts: readonly HostsEntry[],
  ): Promise<Finding> {
    if (isIP(name)) return found(isWanted(name, wanted) ? [{ name, ip: name }] : [])
    const listed = lookUpHosts(hosts, name).filter((ip) => isWanted(ip, wanted))
    if (listed.length > 0) return found(listed.map((ip) => ({ name, ip })))
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
    const tried: number[] = []
    let until = Number.POSITIVE_INFINITY
    for (let index = 0; index <= others.length; index++) {
      if (index === 0 && isLikelyFirst) asked.push(ask(first!))
      else if (index === 1 && isLikelyFirst) asked.push(...others.map(ask))
      const replies = await asked[index]!
      // The finding holds no longer than anything that led to it.
      for (const reply of replies) until = Math.min(until, typeof reply === "string" ? 0 : reply.until)
      const records = replies.flatMap((reply) => (typeof reply === "string" ? [] : addresses(reply)))
      if (records.length > 0) return { records, code: noError, codes: [...tried, noError], until }
      const failure = replies.find((reply) => typeof reply === "string")
      // A server that does not answer for one candidate may answer for none: what a program would be told is this.
      if (failure !== undefined && failure !== "bad-name") throw failed(failure as Failure)
      const codes = replies.flatMap((reply) => (typeof reply === "string" ? [] : [reply.code]))
      tried.push(mostTelling(codes))
    }
    return { records: [], code: mostTelling(tried), codes: tried, until }
  }

  #until(reply: Reply): number {
    return this.#keepsNames ? this.#believed.untilAfter(holdsSeconds(reply) * 1000) : 0
  }

  /** Server after server, then all again, as often as configured. A refusal by one server sends us to the next. */
  async #ask(
    name: string,
    type: QueryType,
    { servers, attempts, timeoutSeconds }: ResolverConfig,
  ): Promise<KnownReply | Failure> {
    let last: KnownReply | Failure = "unreachable"
    for (let attempt = 0; attempt < attempts; attempt++) {
      for (const server of servers) {
        const said = await this.#exchanges.ask(server, name, type, timeoutSeconds * 1000)
        if (said === "bad-name") return said
        const reply = typeof said === "string" ? said : { ...said, until: this.#until(said) }
        if (typeof reply !== "string" && (reply.code === noError || reply.code === noSuchName)) return reply
        if (typeof reply !== "string" || typeof last === "string") last = reply
      }
    }
    return last
  }
}

/** "There is such a name" says more than a server's fault, and that more than "no such name". */
function mostTelling(codes: readonly number[]): number {
  return codes.includes(noError) ? noError : (codes.find((code) => code !== noSuchName) ?? noSuchName)
}

/** A truncated reply and one that tells a server's fault hold no time. */
export function holdsSeconds({ code, answers, absentSeconds, isTruncated }: Reply): number {
  if (isTruncated || (code !== noError && code !== noSuchName)) return 0
  if (answers.length === 0) return absentSeconds ?? 0
  return answers.reduce((least, { ttlSeconds }) => Math.min(least, ttlSeconds), Number.POSITIVE_INFINITY)
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

function addresses({ answers }: Reply): LookupRecord[] {
  return answers.flatMap(({ name, data }) =>
    typeof data === "string" ? [] : [{ name, ip: data.length === 4 ? ipv4Text(data) : ipv6Text(data) }],
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

/** A server's own fault does not say that there is no such name, which programs take for final. */
export function noRecords(code: number): RefusedRequest {
  if (code === noError || code === noSuchName) return dnsError({ kind: "NoRecordsFound", value: code })
  return dnsError({ kind: "Message", value: `the target's name server failed with response code ${code}` })
}

function failed(failure: Failure): RefusedRequest {
  if (failure === "bad-name") return noRecords(noSuchName)
  return dnsError({ kind: failure === "timeout" ? "Timeout" : "NoConnections" })
}

type DnsErrorKind = Extract<ConstructorParameters<typeof RefusedRequest>[0], { kind: "DnsLookup" }>["value"]["kind"]

function dnsError(kind: DnsErrorKind): RefusedRequest {
  return new RefusedRequest({ kind: "DnsLookup", value: { kind } })
}
