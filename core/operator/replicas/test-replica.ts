import { afterEach } from "bun:test"
import { openKube } from "../../kube/kube.ts"
import { silentLogger } from "../../log.ts"
import { Records } from "./records.ts"
import { Replicas } from "./replicas.ts"

/** What all operators of a namespace share, as one of them has it. */
export interface TestReplica {
  records: Records
  replicas: Replicas
  /** From `leaves` to `returns` nothing can be written of records of that kind. */
  apiServer: { leaves(kind: string): void; returns(): void }
  /** As if its process had been killed; also what happens to it after its test. */
  kill(): void
}

/**
 * Call it in a `describe`: what it gives starts a replica in the test file's namespace, which ends with its test.
 * `stopMore` stops what the test builds on it.
 */
export function replicasOf(cluster: { readonly kubeconfig: string; readonly namespace: string }, beatMs?: number) {
  const undo: (() => void)[] = []
  afterEach(() => {
    for (const step of undo.splice(0)) step()
  })
  return async (stopMore: () => void): Promise<TestReplica> => {
    const ending = new AbortController()
    const records = new Records({
      kube: openKube({ kubeconfig: cluster.kubeconfig }),
      namespace: cluster.namespace,
      ownerMarker: "test",
      owner: undefined,
      log: silentLogger,
      signal: ending.signal,
    })
    await records.start()
    const replicas = new Replicas(records, "operator", silentLogger, beatMs)
    await replicas.start()
    const kill = () => {
      replicas.stop()
      stopMore()
      ending.abort()
    }
    undo.push(kill)
    return { records, replicas, apiServer: outage(records), kill }
  }
}

function outage(records: Records): TestReplica["apiServer"] {
  let kept: string | undefined
  const change: typeof records.change = records.change.bind(records)
  records.change = (kind, ...rest) =>
    kind === kept ? Promise.reject(new Error("the API server is away")) : change(kind, ...rest)
  return {
    leaves: (kind) => {
      kept = kind
    },
    returns: () => {
      kept = undefined
    },
  }
}
