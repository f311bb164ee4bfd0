import { AppError, errorText } from "../errors.ts"
import type { Logger } from "../log.ts"
import type { Cluster, Host, OperatorHost } from "../plugin.ts"

/** What the plugins of one role have done and how it is undone. */
export interface Scope {
  /** The view one plugin has of its host. */
  hostFor(name: string, settings: unknown): OperatorHost
  /** Aborts the signal, then undoes everything, last first; an undo that fails is logged and stops nobody else. */
  stop(): Promise<void>
}

/** @param cluster what plugins have of Kubernetes; nothing, where they are only looked at */
export function createScope(log: Logger, cluster: (signal: AbortSignal) => Cluster = () => noCluster): Scope {
  const stopping = new AbortController()
  const kube = cluster(stopping.signal)
  const undos: { name: string; run: () => unknown }[] = []
  const undo = async ({ name, run }: (typeof undos)[number]) => {
    try {
      await run()
    } catch (thrown) {
      log.error("plugin could not undo", { plugin: name, error: errorText(thrown) })
    }
  }
  let stopped: Promise<void> | undefined
  const unwind = async () => {
    stopping.abort()
    for (let each = undos.pop(); each; each = undos.pop()) await undo(each)
  }
  return {
    hostFor: (name, settings) => ({
      config: settings as Host["config"],
      log: log.child({ plugin: name }),
      signal: stopping.signal,
      kube,
      defer(run) {
        // Who registers after the stop is undone at once: nobody would come for it later.
        if (stopping.signal.aborted) void undo({ name, run })
        else undos.push({ name, run })
      },
    }),
    stop: () => (stopped ??= unwind()),
  }
}

const absent = (): never => {
  throw new AppError("no-cluster", "There is no cluster here", {
    next: "Use host.kube in start() of an operator's hooks.",
  })
}
const noCluster: Cluster = { request: absent, list: absent, pages: absent, watch: absent, follow: absent }
