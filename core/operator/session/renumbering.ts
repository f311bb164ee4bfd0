import type { ClientMessage, DaemonMessage, FileRequest } from "../../protocol/index.ts"

type Family = "TcpOutgoing" | "UdpOutgoing" | "SeqpacketOutgoing"
const families: readonly Family[] = ["TcpOutgoing", "UdpOutgoing", "SeqpacketOutgoing"]

/** Numbers of one family's connections. */
class Connections {
  /** Added to an agent's numbers. */
  base = 0n
  next = 0n
  readonly open = new Set<bigint>()
}

/** Fields of file requests that hold a descriptor; a request has at most one. */
const descriptorFields = ["fd", "remoteFd", "relativeFd", "dirfd"] as const

/**
 * Numbers an agent gives out (descriptors, outgoing connections), as the client sees them. Every agent counts from 0, so when
 * one takes another's place its numbers are shifted past all that were ever used: an old number never means something new.
 */
export class Renumbering {
  #descriptorBase = 0n
  #nextDescriptor = 0n
  readonly #connections: Record<Family, Connections> = {
    TcpOutgoing: new Connections(),
    UdpOutgoing: new Connections(),
    SeqpacketOutgoing: new Connections(),
  }

  /** The message with the agent's own numbers; "stale" when it is about something of an agent that is gone. */
  toAgent(message: ClientMessage): ClientMessage | "stale" {
    if (message.kind === "FileRequest") {
      const value = this.#fileToAgent(message.value)
      return value === "stale" ? value : value === message.value ? message : { kind: "FileRequest", value }
    }
    if (!isOutgoing(message) || (message.value.kind !== "Write" && message.value.kind !== "Close")) return message
    const { connectionId } = message.value.value
    const { base, open } = this.#connections[message.kind]
    if (message.value.kind === "Close") open.delete(connectionId)
    if (connectionId < base) return "stale"
    if (base === 0n) return message
    const value = { ...message.value, value: { ...message.value.value, connectionId: connectionId - base } }
    return { kind: message.kind, value } as ClientMessage
  }

  /** The message with the client's numbers. */
  toClient(message: DaemonMessage): DaemonMessage {
    if (message.kind === "File") return this.#fileToClient(message)
    if (!isOutgoing(message)) return message
    const { kind: family, value } = message
    const connections = this.#connections[family]
    const { base } = connections
    const shifted = <T extends { connectionId: bigint }>(of: T): T =>
      base === 0n ? of : { ...of, connectionId: of.connectionId + base }
    const opened = (id: bigint) => {
      connections.open.add(id)
      connections.next = max(connections.next, id + 1n)
    }
    if (value.kind === "Close") {
      connections.open.delete(value.value + base)
      return base === 0n ? message : ({ kind: family, value: { ...value, value: value.value + base } } as DaemonMessage)
    }
    const result = value.kind === "ConnectV2" ? value.value.connect : value.value
    if (result.kind === "Err") return message
    const ok = { kind: "Ok", value: shifted(result.value) }
    if (value.kind !== "Read") opened(ok.value.connectionId)
    if (base === 0n) return message
    const inner = value.kind === "ConnectV2" ? { ...value.value, connect: ok } : ok
    return { kind: family, value: { kind: value.kind, value: inner } } as DaemonMessage
  }

  /** The agent is gone. Gives the ends of all connections it had, for the client. */
  lose(): DaemonMessage[] {
    this.#descriptorBase = this.#nextDescriptor
    return families.flatMap((family) => {
      const connections = this.#connections[family]
      connections.base = connections.next
      const ended = [...connections.open]
      connections.open.clear()
      return ended.map((value) => ({ kind: family, value: { kind: "Close", value } }) as DaemonMessage)
    })
  }

  #fileToAgent(request: FileRequest): FileRequest | "stale" {
    if (this.#descriptorBase === 0n) return request
    const value = request.value as unknown as Record<string, unknown>
    const field = descriptorFields.find((name) => typeof value[name] === "bigint")
    if (field === undefined) return request
    const descriptor = value[field] as bigint
    if (descriptor < this.#descriptorBase) return "stale"
    return { ...request, value: { ...value, [field]: descriptor - this.#descriptorBase } } as unknown as FileRequest
  }

  #fileToClient(message: DaemonMessage & { kind: "File" }): DaemonMessage {
    const { kind, value: result } = message.value
    const numbered = kind === "Open" || kind === "OpenDir" || kind === "GetDEnts64" || kind === "ReadDirBatch"
    if (!numbered || result.kind === "Err") return message
    const fd = result.value.fd + this.#descriptorBase
    this.#nextDescriptor = max(this.#nextDescriptor, fd + 1n)
    if (this.#descriptorBase === 0n) return message
    return { kind: "File", value: { kind, value: { kind: "Ok", value: { ...result.value, fd } } } } as DaemonMessage
  }
}

function isOutgoing<M extends ClientMessage | DaemonMessage>(message: M): message is M & { kind: Family } {
  return (families as readonly string[]).includes(message.kind)
}

const max = (a: bigint, b: bigint) => (a > b ? a : b)
