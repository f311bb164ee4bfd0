import { AppError } from "../errors.ts"
import type { Kube } from "./kube.ts"
import { podPath } from "./resources.ts"
import { openUpgrade, type Upgraded } from "./upgrade.ts"

export interface PodPort {
  namespace: string
  name: string
  port: number
}

export interface PodTunnelOptions {
  /** `Upgrade` names what the server in the pod must agree to speak. */
  headers: { Upgrade: string; [name: string]: string }
  timeoutMs: number
  signal?: AbortSignal
}

/**
 * A connection to a port of a pod that the API server itself makes: an upgraded request through `pods/proxy`, passed on byte for
 * byte. A port-forward goes through kubelet and container runtime besides, but needs no server that knows HTTP, and no way from
 * the API server to the addresses of pods. It ends for both directions at once.
 * @throws KubeError "kube-forbidden" without `get` on `pods/proxy`, and with what the server in the pod answered otherwise;
 * AppError "kube-unreachable", "kube-bad-answer"
 */
export async function openPodTunnel(kube: Kube, pod: PodPort, options: PodTunnelOptions): Promise<Upgraded> {
  const { namespace, name, port } = pod
  const { headers } = options
  const what = `reach port ${port} of pod "${name}" in ${namespace} by pods/proxy`
  const path = `${podPath(namespace, name)}:${port}/proxy/`
  const upgraded = await kube.use((access) => openUpgrade(access, path, { ...options, what }))
  if (upgraded.headers.get("upgrade") === headers.Upgrade) return upgraded
  upgraded.socket.abort()
  throw new AppError("kube-bad-answer", `Cannot ${what}: the answer is an upgrade to something else`)
}
