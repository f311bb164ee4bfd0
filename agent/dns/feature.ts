import {
  type AddressFamily,
  type ClientMessage,
  type DaemonMessage,
  type LookupRecord,
  lifeProtocol,
  lifeRecord,
  walkProtocol,
  walkRecord,
} from "../../core/protocol/index.ts"
import type { AgentClient, AgentContext, AgentFeature } from "../feature.ts"
import { Lane } from "../lane.ts"
import { refused } from "../response-error.ts"
import { type Finding, noRecords, Resolver, type Wanted } from "./resolver.ts"

/** Lookups of one client that may run at once. */
const maxRunning = 64
/** Lookups that may wait, running ones included. */
const maxWaiting = 256

/** What is known is answered in the turn in which it is asked. */
type Reply = DaemonMessage | Promise<DaemonMessage>

const wanted: Record<AddressFamily["kind"], Wanted> = {
  Ipv4Only: "ipv4",
  Ipv6Only: "ipv6",
  Both: "both",
  Any: "any",
  UnknownAddressFamilyFromNewerClient: "both",
}

/** Names, as the target resolves them. Lookups run side by side; answers leave in the order of the questions. */
export function createDns({ surroundings, settings, metrics }: AgentContext): AgentFeature {
  const resolver = new Resolver(surroundings, settings)
  const answer = (message: ClientMessage): Reply => {
    switch (message.kind) {
      case "GetAddrInfoRequest":
        return lookUp(resolver, message.value.node, "ipv4")
      case "GetAddrInfoRequestV2": {
        const { node, family, protocol } = message.value
        return lookUp(resolver, node, wanted[family.kind], protocol)
      }
      case "ReverseDnsLookup":
        return reverse(resolver, message.value.ipAddress)
      default:
        throw new Error(`${message.kind} is no question about names`)
    }
  }
  const counted = (message: ClientMessage) => {
    const reply = answer(message)
    if (!(reply instanceof Promise)) return reply
    metrics.add("mirrord_agent_dns_request_count", 1)
    return reply.finally(() => metrics.add("mirrord_agent_dns_request_count", -1))
  }
  return {
    kinds: ["GetAddrInfoRequest", "GetAddrInfoRequestV2", "ReverseDnsLookup"],
    serve(client) {
      const names = new Questions(client, counted)
      const addresses = new Questions(client, counted)
      return {
        handle: (message) => (message.kind === "ReverseDnsLookup" ? addresses : names).ask(message),
        close() {},
      }
    },
  }
}

/** One ordered queue of questions. */
class Questions {
  readonly #answer: (message: ClientMessage) => Reply
  readonly #answers: Lane<Reply>
  readonly #later: (() => void)[] = []
  #running = 0

  constructor(client: AgentClient, answer: (message: ClientMessage) => Reply) {
    this.#answer = answer
    this.#answers = new Lane(client, maxWaiting, (reply: Reply) =>
      reply instanceof Promise ? reply.then((message) => client.send(message)) : client.send(reply),
    )
  }

  ask(message: ClientMessage): void {
    const reply =
      this.#running < maxRunning
        ? this.#begin(message)
        : new Promise<void>((resolve) => this.#later.push(resolve)).then(() => this.#begin(message))
    // The lane hears of a failure when it gets there.
    if (reply instanceof Promise) reply.catch(() => {})
    this.#answers.push(reply)
  }

  #begin(message: ClientMessage): Reply {
    const next = () => this.#later.shift()?.()
    const reply = this.#answer(message)
    if (!(reply instanceof Promise)) {
      next()
      return reply
    }
    this.#running++
    return reply.finally(() => {
      this.#running--
      next()
    })
  }
}

/** `protocol`: of those podside asks with it says what is to be told besides the records. */
function lookUp(resolver: Resolver, name: string, family: Wanted, protocol = 0): Reply {
  const told = (finding: Finding): DaemonMessage => {
    const { records, code } = finding
    const more = toldOf(finding, protocol, resolver.left(finding))
    if (records.length === 0 && !more) return failed(noRecords(code))
    return { kind: "GetAddrInfoResponse", value: { kind: "Ok", value: more ? [...records, more] : records } }
  }
  const failed = (thrown: unknown): DaemonMessage => ({ kind: "GetAddrInfoResponse", value: refused(thrown) })
  try {
    const finding = resolver.lookUp(name, family)
    return finding instanceof Promise ? finding.then(told).catch(failed) : told(finding)
  } catch (thrown) {
    return failed(thrown)
  }
}

function toldOf({ code, codes }: Finding, protocol: number, milliseconds: number): LookupRecord | undefined {
  if (protocol === lifeProtocol) return lifeRecord({ code, milliseconds })
  return protocol === walkProtocol ? walkRecord({ codes, milliseconds }) : undefined
}

async function reverse(resolver: Resolver, ip: string): Promise<DaemonMessage> {
  const hostname = await resolver.reverse(ip).then(
    (name) => ({ kind: "Ok", value: name }) as const,
    (thrown) => refused(thrown),
  )
  return { kind: "ReverseDnsLookup", value: { kind: "Ok", value: { hostname } } }
}
