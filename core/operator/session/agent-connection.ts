import type { Link, LinkEnd } from "../../link.ts"
import { type ClientMessage, type DaemonMessage, protocolVersion } from "../../protocol/index.ts"
import type { ResolvedPod } from "../../session.ts"

/** An agent as a session sees it: one for each pod. */
export interface PodAgent {
  /** Undefined for a targetless session. */
  pod: ResolvedPod | undefined
  /** Starts the agent when there is none, and connects to it. @throws AppError "agent-not-started" */
  connect(signal: AbortSignal): Promise<Link<DaemonMessage, ClientMessage>>
}

/**
 * One connection to one agent on behalf of one client socket. Answers to the operator's own requests (versions,
 * subscriptions) are awaited here; everything else goes to `onMessage`.
 */
export class AgentConnection {
  readonly agent: PodAgent
  readonly link: Link<DaemonMessage, ClientMessage>
  readonly ended: Promise<LinkEnd>
  over = false
  #versions: ((version: string) => void)[] = []

  constructor(
    agent: PodAgent,
    link: Link<DaemonMessage, ClientMessage>,
    onMessage: (message: DaemonMessage, from: AgentConnection) => void,
  ) {
    this.agent = agent
    this.link = link
    this.ended = link.ended
    void link.ended.then(() => {
      this.over = true
      for (const resolve of this.#versions.splice(0)) resolve(protocolVersion)
    })
    link.receive((message) => {
      if (message.kind === "SwitchProtocolVersionResponse") this.#versions.shift()?.(message.value)
      else onMessage(message, this)
    })
  }

  /** The version the agent agrees to; ours when it is lost meanwhile. */
  switchVersion(version: string): Promise<string> {
    if (this.over) return Promise.resolve(version)
    const { promise, resolve } = Promise.withResolvers<string>()
    this.#versions.push(resolve)
    this.link.send({ kind: "SwitchProtocolVersion", value: version })
    return promise
  }
}
