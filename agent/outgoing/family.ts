import type {
  DaemonMessage,
  DaemonTcpOutgoing,
  LayerTcpOutgoing,
  Result,
  SocketAddress,
} from "../../core/protocol/index.ts"
import type { AgentClient } from "../feature.ts"
import { Lane } from "../lane.ts"
import type { AgentMetrics, GaugeName } from "../metrics.ts"
import { refused } from "../response-error.ts"
import type { Surroundings } from "../target/target.ts"
import type { Budget } from "./budget.ts"
import { connectOutgoing, type FamilyKind } from "./connect.ts"
import { OutgoingConnection } from "./connection.ts"

/** What one client and one family of connections need. */
export interface FamilyOptions {
  kind: FamilyKind
  client: AgentClient
  budget: Budget
  surroundings: Surroundings
  metrics: AgentMetrics
}

type Connect = Extract<DaemonTcpOutgoing, { kind: "Connect" }>["value"]

/** Connects of the old form that may wait for the one before. */
const maxWaiting = 256

const gauges: Partial<Record<FamilyKind, GaugeName>> = {
  TcpOutgoing: "mirrord_agent_tcp_outgoing_connection_count",
  UdpOutgoing: "mirrord_agent_udp_outgoing_connection_count",
}

/** Outgoing connections of one client and one family. Ids count from 0. */
export class OutgoingFamily {
  readonly #options: FamilyOptions
  readonly #connections = new Map<bigint, OutgoingConnection>()
  /** Answers of the old form carry no name, so these connects are made one after the other. */
  readonly #unnamed: Lane<SocketAddress>
  /** Ended by the client, not closed yet. */
  readonly #ended: OutgoingConnection[] = []
  #nextId = 0n

  constructor(options: FamilyOptions) {
    this.#options = options
    this.#unnamed = new Lane(options.client, maxWaiting, async (address) => {
      const connect = await this.#connect(address)
      const sent = this.#send({ kind: "Connect", value: connect })
      this.#start(connect)
      return sent
    })
  }

  handle(message: LayerTcpOutgoing): void {
    switch (message.kind) {
      case "Connect":
        this.#unnamed.push(message.value.remoteAddress)
        return
      case "ConnectV2":
        void this.#connectNamed(message.value.uid, message.value.remoteAddress)
        return
      case "Write":
        this.#connections.get(message.value.connectionId)?.write(message.value.bytes)
        return
      case "Close":
        this.#abandonSoon(this.#forget(message.value.connectionId))
        return
    }
  }

  close(): void {
    this.#abandonEnded()
    for (const [id, connection] of this.#connections) {
      this.#forget(id)
      connection.abandon()
    }
  }

  /**
   * Closing costs the kernel as much as connecting, and the client has usually asked for something else in the same breath: the answer
   * to that leaves in this turn of the event loop, and the socket is closed in the next.
   */
  #abandonSoon(connection: OutgoingConnection | undefined): void {
    if (!connection) return
    connection.silence()
    if (this.#ended.push(connection) === 1) setImmediate(() => setImmediate(() => this.#abandonEnded()))
  }

  #abandonEnded(): void {
    for (const connection of this.#ended.splice(0)) connection.abandon()
  }

  async #connectNamed(uid: string, address: SocketAddress): Promise<void> {
    const connect = await this.#connect(address)
    this.#options.budget.sent(this.#send({ kind: "ConnectV2", value: { uid, connect } }))
    this.#start(connect)
  }

  async #connect(address: SocketAddress): Promise<Connect> {
    const { kind, surroundings, client } = this.#options
    try {
      const { socket, remoteAddress, localAddress } = await connectOutgoing(kind, address, surroundings)
      const connectionId = this.#nextId++
      const connection = new OutgoingConnection(socket, this.#options.budget, {
        data: (bytes) => this.#read(connectionId, bytes),
        end: () => this.#read(connectionId, new Uint8Array()),
        over: (failure) => this.#over(connectionId, failure),
      })
      this.#add(connectionId, connection)
      if (client.signal.aborted) this.close()
      return { kind: "Ok", value: { connectionId, remoteAddress, localAddress } }
    } catch (thrown) {
      return refused(thrown)
    }
  }

  /** After the answer went out, so that the client knows the number before it hears of it. */
  #start(connect: Result<{ connectionId: bigint }>): void {
    if (connect.kind === "Ok") this.#connections.get(connect.value.connectionId)?.start()
  }

  #read(connectionId: bigint, bytes: Uint8Array): void {
    const message = { kind: "Read", value: { kind: "Ok", value: { connectionId, bytes } } } as const
    this.#options.budget.sent(this.#send(message))
  }

  #over(connectionId: bigint, failure: string | undefined): void {
    this.#forget(connectionId)
    const { client, kind } = this.#options
    if (failure) client.tell("Warn", `${kind} connection ${connectionId} failed: ${failure}`)
    this.#send({ kind: "Close", value: connectionId })
  }

  #add(id: bigint, connection: OutgoingConnection): void {
    this.#connections.set(id, connection)
    this.#count(1)
  }

  #forget(id: bigint): OutgoingConnection | undefined {
    const connection = this.#connections.get(id)
    if (this.#connections.delete(id)) this.#count(-1)
    return connection
  }

  #count(by: number): void {
    const gauge = gauges[this.#options.kind]
    if (gauge) this.#options.metrics.add(gauge, by)
  }

  /** The three families differ in tags only, and seqpacket lacks the old connect, which nobody can ask it for. */
  #send(value: DaemonTcpOutgoing): boolean {
    return this.#options.client.send({ kind: this.#options.kind, value } as DaemonMessage)
  }
}
