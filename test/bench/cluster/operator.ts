import { join } from "node:path"
import { manifests } from "../../../config/manifests/objects.ts"
import { readValues } from "../../../config/manifests/values.ts"
import { eventually } from "../../cluster/eventually.ts"
import { cacheFolder } from "../../cluster/layout.ts"
import { withLock } from "../../cluster/lock.ts"
import { must, run } from "../../cluster/run.ts"
import type { Stage } from "./stage.ts"

const lockSeconds = 1200
const service = "v1.operator.metalbear.co"

/** Installs the operator in a namespace of its own while `work` runs; `work` gets that namespace. */
export function withOperator<T>(stage: Stage, work: (namespace: string) => Promise<T>): Promise<T> {
  const lock = join(cacheFolder(), "locks", "operator-api.lock")
  const waiting = () => void process.stderr.write("waiting for a test of the operator\n")
  return withLock(lock, lockSeconds, waiting, async () => {
    const namespace = `operator-${crypto.randomUUID().slice(0, 8)}`
    const operator = { image: "podside", imageTag: "dev", imagePullPolicy: "Never" }
    const items = manifests(readValues({ namespace, operator }))
    const admin = { env: { KUBECONFIG: stage.kubeconfig }, timeoutSeconds: 120 }
    const input = JSON.stringify({ apiVersion: "v1", kind: "List", items })
    const remove = async () => {
      await run(["kubectl", "delete", "apiservice", service, "--ignore-not-found"], admin)
      await run(["kubectl", "delete", "--ignore-not-found", "--wait=false", "-f", "-"], { ...admin, input })
    }
    stage.leftovers.add(remove)
    try {
      await must(["kubectl", "apply", "-f", "-"], { ...admin, input })
      await stage.kubectl("rollout", "status", "deployment/podside-operator", "-n", namespace, "--timeout=90s")
      const tryKubectl = (...words: string[]) => run(["kubectl", "-n", stage.namespace, ...words], admin)
      await eventually(
        { tryKubectl },
        "the operator's API",
        async () => (await tryKubectl("get", "mirrordoperators")).code === 0,
      )
      return await work(namespace)
    } finally {
      stage.leftovers.delete(remove)
      await remove()
    }
  })
}

/** Removes the operator's agents, so that the next session needs a new one. */
export async function removeAgents({ kubectl }: Stage, namespace: string): Promise<void> {
  await kubectl("delete", "jobs,pods", "-l", "app=mirrord", "-n", namespace, "--grace-period=0", "--wait=true")
}
