import { readFile } from "node:fs/promises"
import type { Endpoint } from "../../../interceptor.ts"
import type { ResolverConfig } from "../../../resolv-conf.ts"
import type { DnsWorld } from "../../engine.ts"
import type { DirectionFilter } from "../outgoing/address-filter.ts"
import type { KnownNames } from "./known-names.ts"
import { type Family, hasAddresses, type LookupResult, type Names } from "./lookup.ts"
import { buildAnswer, buildFailure, parseQuery, type Question, recordType, responseCode } from "./message.ts"
import { isAllLocal, placeOfName } from "./place.ts"
import { SearchList } from "./search-list.ts"

export interface DnsOptions {
  filter?: DirectionFilter
}

export interface DnsParts {
  names: Names
  known: KnownNames
  /** Puts a question to the pod's own name server; undefined when there is no answer. */
  forward(query: Uint8Array): Promise<Uint8Array | undefined>
  /** What the pod's resolv.conf says; undefined when it cannot be had. Never rejects. */
  podConfig(): Promise<ResolverConfig | undefined>
  /** Programs read the pod's /etc/hosts by themselves. */
  readsHosts: boolean
}

/** An address of its own, so that a name server of the developer is never taken for it. Nobody listens there. */
const server: Endpoint = { ip: "127.53.53.53", port: 53 }

/** What a resolver waits for an answer when nothing is said, and the most it can be told, in seconds. */
const usualPatience = 5
const maxPatience = 30

/**
 * Answers DNS messages from the pod's point of view, for every resolver that asks by DNS. Programs see the pod's search list and go
 * through it as they would there, so every question is for a full name. Where the list is not known, they see none: what comes is what
 * they said, and the agent goes through it.
 */
export function createDnsWorld(options: DnsOptions, parts: DnsParts): DnsWorld {
  const { names, known, forward } = parts
  const { filter } = options
  let search: SearchList | undefined

  const here = async (as: readonly string[], family: Family): Promise<LookupResult> => {
    let result: LookupResult = { code: responseCode.noSuchName }
    for (const name of as) {
      result = await names.local(name, family)
      if (hasAddresses(result)) break
    }
    return result
  }

  const lookup = async (question: Question, family: Family): Promise<Uint8Array> => {
    const { name } = question
    const { said, isFurther } = search?.saidFor(name) ?? { said: [], isFurther: false }
    const where = placeOfName(filter, name, said)
    const isLocal = where.place === "local"
    // What was said was looked for here with the first full name already.
    const isOver = isLocal && where.as[0] !== name && isFurther
    const result: LookupResult = isOver
      ? { code: responseCode.noSuchName }
      : await (isLocal ? here(where.as, family) : (search?.lookUp(name, family) ?? names.remote(name, family)))
    search?.answered(name, result)
    if (!("ips" in result)) return buildAnswer(question, result.code)
    known.learn([...said, name], result.ips, isLocal ? "machine" : "pod")
    return buildAnswer(question, responseCode.noError, result)
  }

  return {
    server,
    async files() {
      const config = filter && isAllLocal(filter) ? undefined : await parts.podConfig()
      search = config && new SearchList({ config, names, readsHosts: parts.readsHosts })
      return { resolvConf: resolvConf(config), nsswitch: await nsswitchByDns() }
    },
    async answer(query) {
      const question = parseQuery(query)
      if (!question) return buildFailure(query)
      const { type, isInternet, name } = question
      if (!isInternet || name === "") return buildAnswer(question, responseCode.notImplemented)
      if (type === recordType.A) return lookup(question, 4)
      if (type === recordType.AAAA) return lookup(question, 6)
      return (await forward(query)) ?? buildAnswer(question, responseCode.serverFailure)
    },
  }
}

/** The pod's file with our name server. Without it: no search list, which the agent then applies. */
function resolvConf(config: ResolverConfig | undefined): string {
  const lines = [`nameserver ${server.ip}`]
  if (config && config.search.length > 0) lines.push(`search ${config.search.join(" ")}`)
  lines.push(`options ${[`ndots:${config?.ndots ?? 0}`, ...patience(config)].join(" ")}`)
  return `${lines.join("\n")}\n`
}

/** The agent asks the pod's servers one after the other; a program has to wait until the last has had its time. */
function patience(config: ResolverConfig | undefined): string[] {
  const seconds = config ? Math.min(config.servers.length * config.timeoutSeconds, maxPatience) : 0
  return seconds > usualPatience ? [`timeout:${seconds}`] : []
}

/** Desktops resolve through sockets of systemd and others, which know nothing of the pod. */
async function nsswitchByDns(): Promise<string> {
  const hosts = "hosts: files dns"
  const own = await readFile("/etc/nsswitch.conf", "utf8").catch(() => "")
  const lines = own.split("\n").filter((line) => line !== "" && !/^\s*hosts\s*:/.test(line))
  return [...lines, hosts, ""].join("\n")
}
