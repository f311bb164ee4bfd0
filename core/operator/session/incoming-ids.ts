/**
 * Connection ids of one mode (mirror or steal) on one client socket. Every agent counts from 0 for itself; the client needs
 * one count over all of them.
 */
export class IncomingIds<Agent> {
  #next = 0n
  readonly #toAgent = new Map<bigint, { agent: Agent; id: bigint }>()
  readonly #toClient = new Map<Agent, Map<bigint, bigint>>()

  /** The client's id for a connection the agent announces. */
  announce(agent: Agent, id: bigint): bigint {
    const clientId = this.#next++
    const ofAgent = this.#toClient.get(agent) ?? new Map<bigint, bigint>()
    this.#toClient.set(agent, ofAgent)
    ofAgent.set(id, clientId)
    this.#toAgent.set(clientId, { agent, id })
    return clientId
  }

  /** Undefined for a connection that is over or was never announced. */
  forClient(agent: Agent, id: bigint): bigint | undefined {
    return this.#toClient.get(agent)?.get(id)
  }

  forAgent(clientId: bigint): { agent: Agent; id: bigint } | undefined {
    return this.#toAgent.get(clientId)
  }

  forget(clientId: bigint): void {
    const known = this.#toAgent.get(clientId)
    if (!known) return
    this.#toAgent.delete(clientId)
    this.#toClient.get(known.agent)?.delete(known.id)
  }

  /** Forgets an agent and gives the client's ids of its connections. */
  forgetAgent(agent: Agent): bigint[] {
    const ids = [...(this.#toClient.get(agent)?.values() ?? [])]
    for (const id of ids) this.#toAgent.delete(id)
    this.#toClient.delete(agent)
    return ids
  }

  get size(): number {
    return this.#toAgent.size
  }
}
