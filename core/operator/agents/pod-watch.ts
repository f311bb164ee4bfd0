import { follow } from "../../kube/follow.ts"
import type { Kube } from "../../kube/kube.ts"
import type { Pod } from "../../kube/objects.ts"
import { podPath } from "../../kube/resources.ts"
import type { Logger } from "../../log.ts"

type Listener = (pods: readonly Pod[]) => void

interface Watched {
  listeners: Set<Listener>
  pods: readonly Pod[] | undefined
  stop: AbortController
}

/** The pods of the namespaces that sessions work in: one watch for each, however many sessions there are. */
export class PodWatch {
  readonly #kube: Kube
  readonly #log: Logger
  readonly #namespaces = new Map<string, Watched>()

  constructor(kube: Kube, log: Logger) {
    this.#kube = kube
    this.#log = log
  }

  /** Calls `listener` with all pods now and after every change. Returns the undo. */
  subscribe(namespace: string, listener: Listener): () => void {
    const watched = this.#namespaces.get(namespace) ?? this.#start(namespace)
    watched.listeners.add(listener)
    if (watched.pods) listener(watched.pods)
    return () => {
      watched.listeners.delete(listener)
      if (watched.listeners.size > 0 || this.#namespaces.get(namespace) !== watched) return
      this.#namespaces.delete(namespace)
      watched.stop.abort()
    }
  }

  stop(): void {
    for (const { stop } of this.#namespaces.values()) stop.abort()
    this.#namespaces.clear()
  }

  #start(namespace: string): Watched {
    const watched: Watched = { listeners: new Set(), pods: undefined, stop: new AbortController() }
    this.#namespaces.set(namespace, watched)
    follow<Pod>({
      kube: this.#kube,
      path: podPath(namespace),
      signal: watched.stop.signal,
      log: this.#log,
      onChange: (pods) => {
        watched.pods = [...pods.values()]
        for (const listener of watched.listeners) listener(watched.pods)
      },
    }).catch((error) => {
      // The next session of the namespace tries again; those that are there keep the pods they have.
      if (!watched.stop.signal.aborted) this.#log.warn("pods cannot be watched", { namespace, error })
      if (this.#namespaces.get(namespace) === watched) this.#namespaces.delete(namespace)
    })
    return watched
  }
}
