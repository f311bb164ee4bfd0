import type { ServerAccess } from "./access.ts"
import { KubeError } from "./errors.ts"
import type { PortForward } from "./forward.ts"
import type { Kube } from "./kube.ts"
import { podPath } from "./resources.ts"
import { SpdyForward } from "./spdy-forward.ts"
import { openUpgrade, type UpgradeOptions } from "./upgrade.ts"
import { openWebSocket } from "./websocket.ts"
import { ChannelForward, forwardSubprotocol } from "./websocket-forward.ts"

const openTimeoutMs = 15_000
/** From the upgrade to the streams; longer means that something on the way understands no SPDY. */
const streamsTimeoutMs = 5_000
/** Answers that another form of the same request would only get again. */
const finalStatuses: readonly number[] = [401, 403, 404, 429]

/**
 * Opens a forward over SPDY, which costs the container runtime and the API server far less than a WebSocket for each byte; and
 * where something on the way does not let SPDY through, over a WebSocket.
 * @throws KubeError "kube-forbidden" without `get` on `pods/portforward`; AppError "kube-unreachable", "forward-broken"
 */
export async function openPortForward(
  kube: Kube,
  pod: { namespace: string; name: string; port: number },
  signal?: AbortSignal,
): Promise<PortForward> {
  const path = `${podPath(pod.namespace, pod.name)}/portforward`
  const what = `forward port ${pod.port} of pod "${pod.name}" in ${pod.namespace}`
  const options = { timeoutMs: openTimeoutMs, what, signal }
  const access = await kube.access()
  const spdy = await overSpdy(access, path, { ...options, port: pod.port })
  if (spdy) return spdy
  const protocols = [forwardSubprotocol]
  const socket = await openWebSocket(access, `${path}?ports=${pod.port}`, { ...options, protocols })
  return new ChannelForward(socket, what)
}

/** Undefined where SPDY does not get through. @throws what a WebSocket would only meet again */
async function overSpdy(
  access: ServerAccess,
  path: string,
  options: Omit<UpgradeOptions, "headers"> & { port: number },
): Promise<PortForward | undefined> {
  const { what, port, signal } = options
  const headers = { Upgrade: "SPDY/3.1", "X-Stream-Protocol-Version": "portforward.k8s.io" }
  const upgraded = await openUpgrade(access, path, { ...options, headers }).catch((thrown) => {
    if (!(thrown instanceof KubeError) || finalStatuses.includes(thrown.status)) throw thrown
  })
  if (!upgraded) return undefined
  const limit = AbortSignal.timeout(streamsTimeoutMs)
  try {
    return await SpdyForward.open(upgraded, { port, what, signal: signal ? AbortSignal.any([limit, signal]) : limit })
  } catch {
    signal?.throwIfAborted()
    return undefined
  }
}
