import { AppError, errorText } from "../../../errors.ts"
import { KubeError } from "../../../kube/errors.ts"
import type { Kube } from "../../../kube/kube.ts"
import type { PodPort } from "../../../kube/pod-tunnel.ts"
import { openPortForward } from "../../../kube/port-forward.ts"
import { MovableLink } from "../../../link/index.ts"
import type { Logger } from "../../../log.ts"
import type { AgentConnection } from "../../agent-session.ts"
import { negotiateVersion } from "../negotiate.ts"
import { forwardedLink } from "./forwarded-link.ts"
import { moveToTunnel } from "./move.ts"
import { openTunnel } from "./tunnel.ts"

/** `auto`: a port-forward, which is there first, and soon a tunnel by `pods/proxy` in its place where that works. */
export type Transport = "auto" | "port-forward" | "pod-proxy"

export interface ConnectorOptions {
  kube: Kube
  pod: PodPort
  /** Names the agent in errors. */
  peer: string
  transport: Transport
  log: Logger
  signal: AbortSignal
}

const comesLater: ReadonlySet<string> = new Set(["agent-lost", "agent-silent"])
/** Answers that will be the same next time. The API server says 400 while it does not know the pod's address, and 5xx while nobody listens. */
const finalStatuses: readonly number[] = [401, 403, 404, 405]

export interface DirectConnection extends AgentConnection {
  /** Resolves when the way to the agent will not change any more. */
  settled?: Promise<void>
}

/** Ways to an agent that may still be starting. */
export interface Connector {
  /** Undefined when nobody listens there yet. @throws AppError when trying again is no use */
  connect(): Promise<DirectConnection | undefined>
  /** Why the last attempt came to nothing, where that is the user's concern. */
  readonly failure: AppError | undefined
}

export function createConnector(options: ConnectorOptions): Connector {
  let failure: AppError | undefined
  const connect = async (): Promise<DirectConnection | undefined> => {
    switch (options.transport) {
      case "port-forward":
        return byForward(options)
      case "pod-proxy":
        try {
          return await openTunnel(options)
        } catch (thrown) {
          failure = tunnelFailure(thrown)
          if (isFinal(thrown)) throw failure
          return undefined
        }
      case "auto": {
        const forwarded = await byForward(options)
        if (!forwarded || options.signal.aborted) return forwarded
        return { ...forwarded, settled: moveToTunnel(options, forwarded.link, forwarded.protocolVersion) }
      }
    }
  }
  return {
    async connect() {
      const connection = await connect()
      if (!options.signal.aborted) return connection
      connection?.link.abort()
      return undefined
    },
    get failure() {
      return failure
    },
  }
}

/**
 * Such a forward opens well and breaks at the first byte when nobody listens. An agent that is slow to answer is asked again,
 * too: how long its start may take is the user's to say.
 */
async function byForward({ kube, pod, peer, signal }: ConnectorOptions) {
  const link = new MovableLink(forwardedLink(await openPortForward(kube, pod, signal)))
  try {
    return { link, protocolVersion: await negotiateVersion(link, peer) }
  } catch (thrown) {
    link.abort()
    if (thrown instanceof AppError && comesLater.has(thrown.code)) return undefined
    throw thrown
  }
}

const isFinal = (thrown: unknown) => thrown instanceof KubeError && finalStatuses.includes(thrown.status)

function tunnelFailure(cause: unknown): AppError {
  const reason = errorText(cause).replace(/^Cannot /, "cannot ")
  return new AppError("agent-proxy-failed", `There is no connection to the agent: ${reason}`, {
    cause,
    next: "Set agent.transport to auto, which takes a port-forward where pods/proxy does not work.",
  })
}
