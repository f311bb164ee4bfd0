import type { Kube } from "../../../kube/kube.ts"
import { openPodTunnel, type PodPort } from "../../../kube/pod-tunnel.ts"
import type { Upgraded } from "../../../kube/upgrade.ts"
import { askingSide, StreamLink } from "../../../link/index.ts"
import type { Link } from "../../../link.ts"
import { type ClientMessage, type DaemonMessage, upgradeToken } from "../../../protocol/index.ts"
import type { AgentConnection } from "../../agent-session.ts"
import { negotiateVersion } from "../negotiate.ts"

/** For a tunnel with its first answer, in milliseconds: what a port-forward may take. Nobody waits for it who has another way. */
const limitMs = 15_000

export interface TunnelOptions {
  kube: Kube
  pod: PodPort
  /** Names the agent in errors. */
  peer: string
  signal: AbortSignal
}

/**
 * A connection to the agent by `pods/proxy`, proven by its first answer. @param headers what to tell the agent besides
 * @throws what `openPodTunnel` and `negotiateVersion` throw
 */
export async function openTunnel(
  { kube, pod, peer, ...options }: TunnelOptions,
  headers: Record<string, string> = {},
): Promise<AgentConnection> {
  const signal = AbortSignal.any([AbortSignal.timeout(limitMs), options.signal])
  const asked = { headers: { Upgrade: upgradeToken, ...headers }, timeoutMs: limitMs, signal }
  const link = tunnelLink(await openPodTunnel(kube, pod, asked))
  const giveUp = () => link.abort(new Error(`no answer within ${limitMs / 1_000} s`))
  signal.addEventListener("abort", giveUp, { once: true })
  try {
    return { link, protocolVersion: await negotiateVersion(link, peer) }
  } catch (thrown) {
    link.abort()
    throw thrown
  } finally {
    signal.removeEventListener("abort", giveUp)
  }
}

/** A link over a connection to the agent's port that carries nothing else. */
function tunnelLink({ socket, rest }: Upgraded): Link<DaemonMessage, ClientMessage> {
  const link = new StreamLink(
    {
      // What the socket does not take it keeps, so that at most one chunk waits there.
      write(chunk) {
        if (socket.queuedBytes > 0) return 0
        socket.write(chunk)
        return chunk.byteLength
      },
      pause: () => socket.pause(),
      resume: () => socket.resume(),
      end: () => socket.end(),
      destroy: (abortive) => (abortive ? socket.abort() : socket.end()),
    },
    askingSide,
  )
  socket.handlers = {
    data: (bytes) => link.received(bytes),
    drain: () => link.drained(),
    closed: (error) => link.failed(error),
  }
  if (rest.byteLength > 0) link.received(rest)
  return link
}
