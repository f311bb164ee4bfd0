import { readFile } from "node:fs/promises"
import type { Endpoint } from "../../../interceptor.ts"
import type { DnsWorld } from "../../engine.ts"
import { type DirectionFilter, inSubnet } from "../outgoing/address-filter.ts"
import type { KnownNames } from "./known-names.ts"
import type { Family, Names } from "./lookup.ts"
import { buildAnswer, buildFailure, isIpText, parseQuery, type Question, recordType, responseCode } from "./message.ts"

export interface DnsOptions {
  filter?: DirectionFilter
}

export interface DnsParts {
  names: Names
  known: KnownNames
  /** Puts a question to the pod's own name server; undefined when there is no answer. */
  forward(query: Uint8Array): Promise<Uint8Array | undefined>
}

/** An address of its own, so that a name server of the developer is never taken for it. Nobody listens there. */
const server: Endpoint = { ip: "127.53.53.53", port: 53 }

/** No search list: the agent applies the pod's own, which saves a round trip for each domain in it. */
const resolvConf = `nameserver ${server.ip}\noptions ndots:0\n`

/** Answers DNS messages from the pod's point of view, for every resolver that asks by DNS. */
export function createDnsWorld(options: DnsOptions, { names, known, forward }: DnsParts): DnsWorld {
  const isLocal = (name: string) => {
    const { filter } = options
    if (!filter) return false
    // Ports cannot be known here: DNS is asked for names only.
    const matches = filter.entries.some(({ address, port }) => port === 0 && nameMatches(address, name))
    return matches === (filter.matching === "local")
  }

  const lookup = async (question: Question, family: Family): Promise<Uint8Array> => {
    const { name } = question
    const local = isLocal(name)
    const result = await (local ? names.local(name, family) : names.remote(name, family))
    if ("code" in result) return buildAnswer(question, result.code)
    known.learn(name, result.ips, local ? "machine" : "pod")
    return buildAnswer(question, responseCode.noError, result.ips, result.ttlSeconds)
  }

  return {
    server,
    async files() {
      return { resolvConf, nsswitch: await nsswitchByDns() }
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

function nameMatches(address: DirectionFilter["entries"][number]["address"], name: string): boolean {
  if (address.kind === "any") return true
  if (address.kind === "name") return address.name === name
  return isIpText(name) && inSubnet(name, address.ip, address.prefix)
}

/** Desktops resolve through sockets of systemd and others, which know nothing of the pod. */
async function nsswitchByDns(): Promise<string> {
  const hosts = "hosts: files dns"
  const own = await readFile("/etc/nsswitch.conf", "utf8").catch(() => "")
  const lines = own.split("\n").filter((line) => line !== "" && !/^\s*hosts\s*:/.test(line))
  return [...lines, hosts, ""].join("\n")
}
