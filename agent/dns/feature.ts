import type { AddressFamily, ClientMessage, DaemonMessage } from "../../core/protocol/index.ts"
import type { AgentClient, AgentContext, AgentFeature } from "../feature.ts"
import { Lane } from "../lane.ts"
import { refused } from "../response-error.ts"
import { Resolver, type Wanted } from "./resolver.ts"

/** Lookups of one client that may run at once. */
const maxRunning = 64
/** Lookups that may wait, running ones included. */
const maxWaiting = 256

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
  const answer = (message: ClientMessage): Promise<DaemonMessage> => {
    switch (message.kind) {
      case "GetAddrInfoRequest":
        return lookUp(resolver, message.value.node, "ipv4")
      case "GetAddrInfoRequestV2":
        return lookUp(resolver, message.value.node, wanted[message.value.family.kind])
      case "ReverseDnsLookup":
        return reverse(resolver, message.value.ipAddress)
      default:
        throw new Error(`${message.kind} is no question about names`)
    }
  }
  const counted = (message: ClientMessage) => {
    metrics.add("mirrord_agent_dns_request_count", 1)
    return answer(message).finally(() => metrics.add("mirrord_agent_dns_request_count", -1))
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
  readonly #answer: (message: ClientMessage) => Promise<DaemonMessage>
  readonly #answers: Lane<Promise<DaemonMessage>>
  readonly #later: (() => void)[] = []
  #running = 0

  constructor(client: AgentClient, answer: (message: ClientMessage) => Promise<DaemonMessage>) {
    this.#answer = answer
    this.#answers = new Lane(client, maxWaiting, async (reply: Promise<DaemonMessage>) => client.send(await reply))
  }

  ask(message: ClientMessage): void {
    const reply = this.#run(message)
    // The lane hears of a failure when it gets there.
    reply.catch(() => {})
    this.#answers.push(reply)
  }

  async #run(message: ClientMessage): Promise<DaemonMessage> {
    if (this.#running >= maxRunning) await new Promise<void>((resolve) => this.#later.push(resolve))
    this.#running++
    try {
      return await this.#answer(message)
    } finally {
      this.#running--
      this.#later.shift()?.()
    }
  }
}

async function lookUp(resolver: Resolver, name: string, family: Wanted): Promise<DaemonMessage> {
  const kind = "GetAddrInfoResponse"
  return resolver.lookUp(name, family).then(
    (records) => ({ kind, value: { kind: "Ok", value: records } }) as const,
    (thrown) => ({ kind, value: refused(thrown) }) as const,
  )
}

async function reverse(resolver: Resolver, ip: string): Promise<DaemonMessage> {
  const hostname = await resolver.reverse(ip).then(
    (name) => ({ kind: "Ok", value: name }) as const,
    (thrown) => refused(thrown),
  )
  return { kind: "ReverseDnsLookup", value: { kind: "Ok", value: { hostname } } }
}
