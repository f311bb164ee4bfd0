import { type FollowedChange, keepFollowing } from "../../kube/follow.ts"
import type { Kube } from "../../kube/kube.ts"
import type { Pod } from "../../kube/objects.ts"
import { podPath } from "../../kube/resources.ts"
import type { Logger } from "../../log.ts"
import { watchedPod } from "./watched-pod.ts"

type Listener = (pods: readonly Pod[]) => void

interface Subscriber {
  isOurs(pod: Pod): boolean
  listener: Listener
}

interface Watched {
  subscribers: Set<Subscriber>
  pods: ReadonlyMap<string, Pod> | undefined
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

  /** Calls `listener` with all pods that are ours now, and after every change of one of them. Returns the undo. */
  subscribe(namespace: string, isOurs: (pod: Pod) => boolean, listener: Listener): () => void {
    const watched = this.#namespaces.get(namespace) ?? this.#start(namespace)
    const subscriber = { isOurs, listener }
    watched.subscribers.add(subscriber)
    if (watched.pods) tell(subscriber, watched.pods)
    return () => {
      watched.subscribers.delete(subscriber)
      if (watched.subscribers.size > 0 || this.#namespaces.get(namespace) !== watched) return
      this.#namespaces.delete(namespace)
      watched.stop.abort()
    }
  }

  stop(): void {
    for (const { stop } of this.#namespaces.values()) stop.abort()
    this.#namespaces.clear()
  }

  #start(namespace: string): Watched {
    const watched: Watched = { subscribers: new Set(), pods: undefined, stop: new AbortController() }
    this.#namespaces.set(namespace, watched)
    void keepFollowing<Pod>({
      kube: this.#kube,
      path: podPath(namespace),
      signal: watched.stop.signal,
      log: this.#log,
      keep: watchedPod,
      onChange: (pods, change) => {
        watched.pods = pods
        for (const subscriber of watched.subscribers) if (concerns(subscriber, change)) tell(subscriber, pods)
      },
    })
    return watched
  }
}

/** A change of its labels may make a pod ours, or somebody else's. */
function concerns({ isOurs }: Subscriber, change: FollowedChange<Pod> | undefined): boolean {
  return !change || isOurs(change.object) || (change.before !== undefined && isOurs(change.before))
}

function tell({ isOurs, listener }: Subscriber, pods: ReadonlyMap<string, Pod>): void {
  const ours: Pod[] = []
  for (const pod of pods.values()) if (isOurs(pod)) ours.push(pod)
  listener(ours)
}
