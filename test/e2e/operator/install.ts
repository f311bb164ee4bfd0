import { afterAll, beforeAll } from "bun:test"
import { join } from "node:path"
import { manifests } from "../../../config/manifests/objects.ts"
import { readValues } from "../../../config/manifests/values.ts"
import { cacheFolder } from "../../cluster/layout.ts"
import { withLock } from "../../cluster/lock.ts"
import { must, run } from "../../cluster/run.ts"
import type { TestCluster } from "../../cluster/use.ts"

export interface Installed {
  /** Where the operator and its agents live. */
  namespace: string
  /** Changes values. */
  apply(values: Record<string, unknown>): Promise<void>
  /** Changes values and waits until the operator is there again. */
  change(values: Record<string, unknown>): Promise<void>
  /** Everything the operator's pods have logged, newest last. */
  logs(): Promise<string>
}

const lockSeconds = 1200
const waiting = () => void process.stderr.write("waiting for another test of the operator\n")

/**
 * Installs the operator as a pod for the tests of one file, in a namespace of its own, and removes it afterwards. A cluster
 * has one such API, so test processes wait for each other.
 */
export function useOperator(cluster: TestCluster, values: Record<string, unknown> = {}): Installed {
  const namespace = `operator-${crypto.randomUUID().slice(0, 8)}`
  let applied: string[] = []
  let unlock: (() => void) | undefined
  let locked: Promise<unknown> | undefined

  const admin = () => ({ env: { KUBECONFIG: cluster.kubeconfig }, timeoutSeconds: 180 })
  const apply = async (given: Record<string, unknown>) => {
    const operator = { image: "podside", imageTag: "dev", imagePullPolicy: "Never", logLevel: "debug" }
    const objects = manifests(
      readValues({ namespace, crds: false, ...given, operator: { ...operator, ...(given["operator"] as object) } }),
    )
    const input = JSON.stringify({ apiVersion: "v1", kind: "List", items: objects })
    applied = [...new Set([...applied, input])]
    await must(["kubectl", "apply", "-f", "-"], { ...admin(), input })
  }
  const install = async (given: Record<string, unknown>) => {
    await apply(given)
    await must(
      ["kubectl", "rollout", "status", "deployment/podside-operator", "-n", namespace, "--timeout=150s"],
      admin(),
    )
    await cluster.eventually("the operator's API", async () => {
      const service = await cluster.get("apiservice", "v1.operator.metalbear.co")
      const available = service.status?.conditions?.some(
        (one: { type: string; status: string }) => one.type === "Available" && one.status === "True",
      )
      return available && (await cluster.tryKubectl("get", "mirrordoperators")).code === 0
    })
  }

  beforeAll(
    async () => {
      if (!cluster.available) return
      await new Promise<void>((resolve, reject) => {
        const file = join(cacheFolder(), "locks", "operator-api.lock")
        const held = () =>
          new Promise<void>((release) => {
            unlock = release
            resolve()
          })
        locked = withLock(file, lockSeconds, waiting, held).catch(reject)
      })
      await cluster.importPodsideImage()
      await install(values)
    },
    { timeout: lockSeconds * 1000 },
  )

  afterAll(
    async () => {
      if (!cluster.available) return
      try {
        // The API first: a group nobody serves stops the removal of every namespace.
        await run(["kubectl", "delete", "apiservice", "v1.operator.metalbear.co", "--ignore-not-found"], admin())
        for (const input of applied) {
          await run(["kubectl", "delete", "--ignore-not-found", "--wait=false", "-f", "-"], { ...admin(), input })
        }
      } finally {
        unlock?.()
        await locked
      }
    },
    { timeout: 300_000 },
  )

  return {
    namespace,
    apply: (more) => apply({ ...values, ...more }),
    change: (more) => install({ ...values, ...more }),
    logs: () =>
      must(["kubectl", "logs", "-n", namespace, "-l", "app.kubernetes.io/name=podside-operator", "--tail=-1"], admin()),
  }
}
