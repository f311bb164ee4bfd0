import type { SocketAddress } from "../../../protocol/index.ts"
import type { Conversation } from "../../conversation.ts"
import { ErrnoError, type OutgoingWorld, type RemotePeer } from "../../engine.ts"
import type { KnownNames } from "../dns/known-names.ts"
import type { Names } from "../dns/lookup.ts"
import { InputBudget } from "../input-budget.ts"
import { compileAny } from "../pattern.ts"
import { errno } from "../response-errno.ts"
import { type DirectionFilter, entryMatches } from "./address-filter.ts"
import { OutgoingFamily } from "./family.ts"
import { silentConnection } from "./silent-connection.ts"

const echoPort = 7
/** Never a debugger's, whatever is announced: what mirrord's table says. */
const layerPorts: readonly number[] = [50_000, 50_001]

export interface OutgoingOptions {
  tcp: boolean
  udp: boolean
  ignoreLocalhost: boolean
  filter?: DirectionFilter
  /** Patterns of unix socket paths (an abstract name without its leading NUL) to reach in the pod. */
  unixStreams?: readonly string[]
  /** Ports of this machine's loopback that belong to a debugger. */
  debuggerPorts?: ReadonlySet<number>
  /** A connect to port 7 of anybody succeeds: programs take it for a ping (Java's isReachable). */
  answersPing?: boolean
}

export interface OutgoingParts {
  known: KnownNames
  /** Does the program itself listen on this port of its own loopback? */
  listensOn(port: number): boolean
  /** Asks this machine for a name's addresses. Never rejects. Absent: addresses are taken as they are. */
  resolveHere?: Names["local"]
}

/** @throws AppError "bad-pattern" */
export function createOutgoingWorld(
  conversation: Conversation,
  options: OutgoingOptions,
  parts: OutgoingParts,
): OutgoingWorld {
  const budget = new InputBudget(conversation)
  const tcp = new OutgoingFamily("TcpOutgoing", conversation, budget)
  const udp = new OutgoingFamily("UdpOutgoing", conversation, budget)
  const seqpacket = new OutgoingFamily("SeqpacketOutgoing", conversation, budget)
  const unix = compileAny(options.unixStreams)

  const isPing = (kind: "tcp" | "udp", port: number) =>
    kind === "tcp" && port === echoPort && (options.answersPing ?? false)
  const isDebugger = ({ ip, port }: { ip: string; port: number }) =>
    isDebuggerHost(ip) && (options.debuggerPorts?.has(port) ?? false) && !layerPorts.includes(port)

  const placeIp = (kind: "tcp" | "udp", peer: { ip: string; port: number }) => {
    if (isPing(kind, peer.port)) return "remote"
    if (isDebugger(peer)) return "local"
    if (isLoopback(peer.ip) && (options.ignoreLocalhost || (kind === "tcp" && parts.listensOn(peer.port))))
      return "local"
    if (peer.port === 0 || !options[kind]) return "local"
    const { filter } = options
    if (!filter) return "remote"
    const matches = filter.entries.some((entry) =>
      entryMatches(entry, kind, peer, (name, ip) => parts.known.isAddressOf(name, ip)),
    )
    return matches === (filter.matching === "remote") ? "remote" : "local"
  }

  return {
    place(peer) {
      if ("endpoint" in peer) return placeIp(peer.kind, peer.endpoint)
      const wanted = unix?.test(unixText(peer.path)) ?? false
      return wanted && (peer.kind === "unix" || conversation.supports("seqpacket")) ? "remote" : "local"
    },
    elsewhere({ ip, port }) {
      const names = isLoopback(ip) ? [] : parts.known.podNamesOf(ip)
      const { resolveHere } = parts
      if (names.length === 0 || !resolveHere || placeIp("tcp", { ip, port }) !== "local") return undefined
      return async () => {
        for (const name of names) {
          const result = await resolveHere(name, ip.includes(":") ? 6 : 4)
          const own = "ips" in result ? result.ips[0] : undefined
          if (own !== undefined) return { ip: own, port }
        }
        throw new ErrnoError(errno.EFAULT, `this machine knows no address of ${names.join(", ")}`)
      }
    },
    async connect(peer) {
      if ("endpoint" in peer && isPing(peer.kind, peer.endpoint.port)) return silentConnection()
      if ("endpoint" in peer) return (peer.kind === "udp" ? udp : tcp).connect({ kind: "Ip", value: peer.endpoint })
      return (peer.kind === "seqpacket" ? seqpacket : tcp).connect(unixAddress(peer))
    },
  }
}

export function isLoopback(ip: string): boolean {
  return ip.startsWith("127.") || ip === "::1" || ip === "::" || ip === "0.0.0.0"
}

/** Where debuggers are: a listener on all addresses, or on another one of the loopback, is none. */
export function isDebuggerHost(ip: string): boolean {
  return ip === "127.0.0.1" || ip === "::1"
}

/** A leading NUL marks an abstract name; NULs at the end only fill the structure. */
function unixText(path: Uint8Array): string {
  const text = new TextDecoder().decode(path[0] === 0 ? path.subarray(1) : path)
  return text.replace(/\0+$/, "")
}

function unixAddress({ path }: Extract<RemotePeer, { path: Uint8Array }>): SocketAddress {
  const value =
    path[0] === 0
      ? ({ kind: "Abstract", value: path.subarray(1) } as const)
      : ({ kind: "Pathname", value: unixText(path) } as const)
  return { kind: "Unix", value }
}
