import { follow } from "../kube/follow.ts"
import type { Kube, Query } from "../kube/kube.ts"
import type { Metadata } from "../kube/objects.ts"
import type { Logger } from "../log.ts"
import type { Cluster } from "../plugin.ts"

/** What plugins have of the operator's connection. */
export const pluginCluster =
  (kube: Kube, log: Logger) =>
  (signal: AbortSignal): Cluster => ({
    request: (...args) => kube.request(...args),
    list: (...args) => kube.list(...args),
    pages: (...args) => kube.pages(...args),
    watch: (...args) => kube.watch(...args),
    follow: <T extends { metadata: Metadata }>(
      path: string,
      onChange: (objects: readonly T[]) => void,
      query?: Query,
    ) => follow<T>({ kube, path, query, signal, log, onChange: (objects) => onChange([...objects.values()]) }),
  })
