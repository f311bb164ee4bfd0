import type { Route, Tap } from "../../../core/interceptor.ts"
import { ipv4Text, ipv6Text } from "../../../core/linux/socket-address.ts"
import { CopiedConnection } from "./copied-connection.ts"
import { readPacketLog, readSegment, type Segment } from "./packet-log.ts"
import { HeldBytes } from "./tcp-stream.ts"

/** Connections that are copied at once. */
const maxConnections = 32_768
/** First packets whose senders have not confirmed yet; the oldest go. */
const maxOpening = 8192
/** Bytes that came with them, in all. */
const maxOpeningBytes = 4 << 20
/** What a caller may have sent before anything of it is seen, in bytes: its first packets may be lost, or come in another order. */
const firstFlightBytes = 1 << 20
/** What waits behind gaps, in all connections together, in bytes. */
const maxHeldBytes = 16 << 20
/** A gap after the log lost packets is taken for one that will not be filled after this, in seconds. */
const gapSeconds = 2
/** Nothing was seen of a connection for so long: it may have ended without a packet. */
const quietSeconds = 60
/** So long after a loss it is looked for connections whose last packets were lost, in seconds. */
const lookSeconds = 5
/** The same is not told more often, in seconds. */
const toldSeconds = 10
const cannotKeepUp = "the agent could not keep up with the traffic"

export interface CopierEvents {
  onCopied(route: Route): Tap | undefined
  onMissed(reason: string): void
  /** A packet of a connection was only seen in part, as others to its port will be. */
  onCut(port: number): void
}

/** Which flows the kernel has a connection for; at least those with one of `ports` on this side and among `flows`. */
export type Connected = (ports: readonly number[], flows: readonly string[]) => ReadonlySet<string>

/** Follows the connections in a packet log, from the SYN on. Knows no kernel: it is given what was logged, and the time. */
export class Copier {
  readonly #events: CopierEvents
  /** By their callers' flow (see Segment). */
  readonly #connections = new Map<string, CopiedConnection>()
  readonly #opening = new Map<string, Segment>()
  #openingBytes = 0
  readonly #ports = new Map<number, number>()
  readonly #held = new HeldBytes(maxHeldBytes)
  #nextNumber: number | undefined
  #losses = 0
  #drops = 0
  #lookAt: number | undefined
  #toldAt = Number.NEGATIVE_INFINITY
  #now = 0

  constructor(events: CopierEvents) {
    this.#events = events
  }

  /** Whether connections to a port are being copied. */
  has(port: number): boolean {
    return this.#ports.has(port)
  }

  /** One datagram of the kernel. */
  read(bytes: Buffer): void {
    for (const { number, packet } of readPacketLog(bytes)) {
      if (this.#nextNumber !== undefined && number !== this.#nextNumber) this.#lose()
      this.#nextNumber = (number + 1) >>> 0
      const segment = readSegment(packet)
      if (segment) this.#take(segment)
    }
  }

  /**
   * To be called every second. `drops` counts how often the kernel had no room: what it lost last no later packet shows. `connected` is
   * asked for the flows of the kernel's connections when some have been quiet for long, with their ports and flows.
   */
  tick(drops: number, connected: Connected): void {
    this.#now++
    if (drops !== this.#drops) this.#lose()
    this.#drops = drops
    if (this.#losses > 0) this.#giveUpGaps()
    if (this.#now !== this.#lookAt && this.#now % quietSeconds !== 0) return
    this.#lookAt = undefined
    this.#dropEnded(connected)
  }

  /** Connections nobody looks at any more are not followed. */
  dropUnwanted(): void {
    for (const [flow, connection] of this.#connections) {
      if (connection.wanted) continue
      connection.drop()
      this.#delete(flow, connection)
    }
  }

  /** Nothing more will be read. */
  loseAll(reason: string): void {
    for (const connection of this.#connections.values()) connection.lose(reason)
    this.#connections.clear()
    this.#ports.clear()
    this.#opening.clear()
    this.#openingBytes = 0
  }

  #take(segment: Segment): void {
    if (segment.syn) {
      if (!segment.ack) this.#expect(segment)
      return
    }
    if (this.#opening.size > 0) this.#confirm(segment)
    const connection = this.#connections.get(segment.flow)
    if (connection) {
      connection.seenAt = this.#now
      connection.take(segment, this.#losses)
      if (connection.over) this.#delete(segment.flow, connection)
      if (segment.cut) this.#events.onCut(connection.port)
    } else if (segment.fin || segment.rst) this.#takeAnswer(segment)
  }

  /** A SYN: anybody can send one in anybody's name, so it makes no connection yet. */
  #expect(segment: Segment): void {
    if (this.#connections.get(segment.flow)?.firstSequence === firstSequence(segment)) return
    this.#forgetOpening(segment.flow)
    this.#openingBytes += segment.bytes.length
    this.#opening.set(segment.flow, { ...segment, bytes: Buffer.from(segment.bytes) })
    for (const [oldest] of this.#opening) {
      if (this.#opening.size <= maxOpening && this.#openingBytes <= maxOpeningBytes) break
      this.#forgetOpening(oldest)
    }
  }

  #forgetOpening(flow: string): void {
    this.#openingBytes -= this.#opening.get(flow)?.bytes.length ?? 0
    this.#opening.delete(flow)
  }

  /** What follows a SYN, and acknowledges what came back. */
  #confirm(segment: Segment): void {
    const first = this.#opening.get(segment.flow)
    if (!first || !segment.ack || segment.rst) return
    if ((segment.sequence - firstSequence(first)) >>> 0 >= firstFlightBytes) return
    this.#forgetOpening(segment.flow)
    const before = this.#connections.get(segment.flow)
    if (before) {
      before.close()
      this.#delete(segment.flow, before)
    }
    if (this.#connections.size >= maxConnections) {
      this.#tell(`more than ${maxConnections} connections are mirrored at once`)
      return
    }
    this.#open(first)
  }

  #open(first: Segment): void {
    const route = routeOf(first.flow)
    const tap = this.#events.onCopied(route)
    if (!tap) return
    const { port } = route.destination
    const connection = new CopiedConnection(tap, port, firstSequence(first), this.#losses, this.#held)
    connection.seenAt = this.#now
    this.#connections.set(first.flow, connection)
    this.#ports.set(port, (this.#ports.get(port) ?? 0) + 1)
    // Of a connection that sends with its first packet (RFC 7413); when that was not taken it is sent again.
    if (first.bytes.length > 0) {
      connection.take({ ...first, sequence: firstSequence(first), fin: false }, this.#losses)
    }
  }

  /** From the application: only the end is logged. */
  #takeAnswer({ flow, rst }: Segment): void {
    const callers = reversed(flow)
    const connection = this.#connections.get(callers)
    if (!connection) return
    if (rst) connection.close()
    else connection.endAnswer()
    if (connection.over) this.#delete(callers, connection)
  }

  #delete(flow: string, { port }: CopiedConnection): void {
    if (!this.#connections.delete(flow)) return
    const left = (this.#ports.get(port) ?? 1) - 1
    if (left === 0) this.#ports.delete(port)
    else this.#ports.set(port, left)
  }

  #lose(): void {
    this.#losses++
    this.#lookAt ??= this.#now + lookSeconds
    this.#tell(cannotKeepUp)
  }

  #tell(reason: string): void {
    if (this.#now - this.#toldAt < toldSeconds) return
    this.#toldAt = this.#now
    this.#events.onMissed(reason)
  }

  /** What the application got and the log lost is not sent again; without a loss a gap lasts as long as it does for the application. */
  #giveUpGaps(): void {
    for (const [flow, connection] of this.#connections) {
      if (!connection.hasGap || connection.soundUntil === this.#losses) connection.gapSince = undefined
      else if (this.#now - (connection.gapSince ??= this.#now) >= gapSeconds) {
        connection.lose(cannotKeepUp)
        this.#delete(flow, connection)
      }
    }
  }

  #dropEnded(connected: Connected): void {
    const quiet = [...this.#connections].filter(
      ([, { seenAt, soundUntil }]) => this.#now - seenAt >= (soundUntil === this.#losses ? quietSeconds : gapSeconds),
    )
    if (quiet.length === 0) return
    const alive = connected(
      [...new Set(quiet.map(([, { port }]) => port))],
      quiet.map(([flow]) => flow),
    )
    for (const [flow, connection] of quiet) {
      if (alive.has(flow)) continue
      if (connection.soundUntil === this.#losses && !connection.hasGap) connection.close()
      else connection.lose(cannotKeepUp)
      this.#delete(flow, connection)
    }
  }
}

const firstSequence = (syn: Segment) => (syn.sequence + 1) >>> 0

/** A flow is both addresses (4 or 16 bytes each), then both ports. */
function parts(flow: string): [source: string, destination: string, sourcePort: string, destinationPort: string] {
  const address = (flow.length - 4) / 2
  return [
    flow.slice(0, address),
    flow.slice(address, 2 * address),
    flow.slice(2 * address, 2 * address + 2),
    flow.slice(2 * address + 2),
  ]
}

function reversed(flow: string): string {
  const [source, destination, sourcePort, destinationPort] = parts(flow)
  return destination + source + destinationPort + sourcePort
}

function routeOf(flow: string): Route {
  const [source, destination, sourcePort, destinationPort] = parts(flow).map((part) => Buffer.from(part, "latin1")) as [
    Buffer,
    Buffer,
    Buffer,
    Buffer,
  ]
  return {
    source: { ip: addressText(source), port: sourcePort.readUInt16BE(0) },
    destination: { ip: addressText(destination), port: destinationPort.readUInt16BE(0) },
  }
}

const addressText = (bytes: Buffer) => (bytes.length === 4 ? ipv4Text(bytes) : ipv6Text(bytes))
