import { AppError } from "../../../errors.ts"
import type { Kube } from "../../../kube/kube.ts"
import { openWebSocket } from "../../../kube/websocket.ts"
import { askingSide, webSocketLink } from "../../../link/index.ts"
import type { AgentConnection } from "../../agent-session.ts"
import { negotiateVersion } from "../negotiate.ts"
import { asWebSocketLike } from "./socket.ts"

const subprotocol = "v4.channel.k8s.io"

export interface OperatorConnectOptions {
  path: string
  headers: Record<string, string>
  /** Who answers, and what is asked for, for messages. */
  peer: string
  what: string
  timeoutMs: number
  signal: AbortSignal
  /** Protocol version to offer; default our own. */
  version?: string
}

/** A link to the operator through the API server, with the version agreed. @throws KubeError, AppError "operator-bad-answer" */
export async function connectOperator(kube: Kube, options: OperatorConnectOptions): Promise<AgentConnection> {
  const link = await openOperatorLink(kube, options)
  try {
    return { link, protocolVersion: await negotiateVersion(link, options.peer, options.version) }
  } catch (thrown) {
    link.abort()
    throw thrown
  }
}

/** The same before anything was said on it. @throws KubeError, AppError "operator-bad-answer" */
export async function openOperatorLink(
  kube: Kube,
  { path, headers, what, timeoutMs, signal }: OperatorConnectOptions,
): Promise<AgentConnection["link"]> {
  const options = { headers, protocols: [subprotocol], timeoutMs, what, signal }
  const socket = await kube.use((access) => openWebSocket(access, path, options))
  if (socket.protocol === subprotocol) return webSocketLink(asWebSocketLike(socket), askingSide)
  socket.abort()
  throw new AppError("operator-bad-answer", "The operator's answer names another subprotocol", {
    next: "Use a client and an operator of matching versions.",
  })
}
