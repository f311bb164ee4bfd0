import { runningContainers } from "./containers.ts"
import type { Pod } from "./objects.ts"

/** Ports of a pod that Kubernetes asks by HTTP or gRPC: whoever answers there decides whether the pod is well. */
export function probedPorts({ spec }: Pick<Pod, "spec">): number[] {
  const asked = runningContainers(spec).flatMap(({ ports = [], livenessProbe, readinessProbe, startupProbe }) =>
    [livenessProbe, readinessProbe, startupProbe].flatMap((probe) => {
      // With a host of its own it asks somebody else.
      const port = probe?.httpGet && !probe.httpGet.host ? probe.httpGet.port : probe?.grpc?.port
      if (port === undefined || typeof port === "number") return port ?? []
      return ports.find(({ name }) => name === port)?.containerPort ?? []
    }),
  )
  return [...new Set(asked)]
}
