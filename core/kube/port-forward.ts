import type { ServerAccess } from "./access.ts"
import { KubeError } from "./errors.ts"
import type { PortForward } from "./forward.ts"
import type { Kube } from "./kube.ts"
import { podPath } from "./resources.ts"
import { SpdyForward } from "./spdy-forward.ts"
import { openUpgrade } from "./upgrade.ts"
import { openWebSocket } from "./websocket.ts"
import { ChannelForward, forwardSubprotocol } from "./websocket-forward.ts"

const openTimeoutMs = 15_000
/** From the upgrade to the streams; longer means that something on the way understands no SPDY. */
const streamsTimeoutMs = 5_000
/** Answers that another form of the same request would only get again. */
const finalStatuses: readonly number[] = [401, 403, 404, 429]

interface ForwardedPort {
  namespace: string
  name: string
  port: number
}

/**
 * Opens a forward over a WebSocket, which answers sooner than SPDY (the container runtime hands SPDY's frames from one thread to
 * another); and over SPDY where something on the way refuses WebSockets.
 * @throws KubeError "kube-forbidden" without `get` on `pods/portforward`; AppError "kube-unreachable", "forward-broken"
 */
export function openPortForward(kube: Kube, pod: ForwardedPort, signal?: AbortSignal): Promise<PortForward> {
  return kube.use((access) => openForward(access, pod, signal))
}

async function openForward(access: ServerAccess, pod: ForwardedPort, signal?: AbortSignal): Promise<PortForward> {
  const what = whatOf(pod)
  const options = { timeoutMs: openTimeoutMs, what, signal, protocols: [forwardSubprotocol] }
  try {
    const socket = await openWebSocket(access, `${pathOf(pod)}?ports=${pod.port}`, options)
    return new ChannelForward(socket, what)
  } catch (thrown) {
    if (!(thrown instanceof KubeError) || finalStatuses.includes(thrown.status)) throw thrown
    const spdy = await openSpdyForward(access, pod, signal)
    if (!spdy) throw thrown
    return spdy
  }
}

/** Undefined where SPDY does not get through either. @throws what another form of the request would only meet again */
export async function openSpdyForward(
  access: ServerAccess,
  pod: ForwardedPort,
  signal?: AbortSignal,
): Promise<PortForward | undefined> {
  const what = whatOf(pod)
  const headers = { Upgrade: "SPDY/3.1", "X-Stream-Protocol-Version": "portforward.k8s.io" }
  const options = { headers, timeoutMs: openTimeoutMs, what, signal }
  const upgraded = await openUpgrade(access, pathOf(pod), options).catch((thrown) => {
    if (!(thrown instanceof KubeError) || finalStatuses.includes(thrown.status)) throw thrown
  })
  if (!upgraded) return undefined
  const limit = AbortSignal.timeout(streamsTimeoutMs)
  try {
    const either = signal ? AbortSignal.any([limit, signal]) : limit
    return await SpdyForward.open(upgraded, { port: pod.port, what, signal: either })
  } catch {
    signal?.throwIfAborted()
    return undefined
  }
}

const pathOf = ({ namespace, name }: ForwardedPort) => `${podPath(namespace, name)}/portforward`
const whatOf = ({ namespace, name, port }: ForwardedPort) => `forward port ${port} of pod "${name}" in ${namespace}`
