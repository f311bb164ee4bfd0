import { beforeAll, describe, expect, test } from "bun:test"
import { rollout, rolloutController } from "../cluster/samples/rollouts.ts"
import {
  cronJob,
  daemonSet,
  deployment,
  job,
  replicaSet,
  service,
  statefulSet,
  twoContainerPod,
} from "../cluster/samples/workloads.ts"
import { useCluster } from "../cluster/use.ts"
import { operatorClient, reader } from "./operator/client.ts"
import { useOperator } from "./operator/install.ts"

/* Every kind of target by its name in URLs: whose environment a session then has. */

const cluster = useCluster("targets")
useOperator(cluster, { agent: { idleSeconds: 5 } })

describe.skipIf(!cluster.available)("a target of the operator", () => {
  let admin: ReturnType<typeof operatorClient>

  beforeAll(async () => {
    await cluster.apply([
      deployment("dep", { labels: { tier: "mixed" } }),
      deployment("other", { labels: { tier: "mixed" } }),
      service("mixed", { selector: { tier: "mixed" } }),
      ...[replicaSet("rs"), statefulSet("sts"), service("sts", { clusterIP: "None" }), daemonSet("ds")],
      ...[job("job"), cronJob("cron"), twoContainerPod("two")],
      {
        ...twoContainerPod("annotated"),
        metadata: { name: "annotated", annotations: { "kubectl.kubernetes.io/default-container": "side" } },
      },
    ])
    await cluster.kubectl("create", "job", "now", "--from=cronjob/cron")
    const waited = ["deployment/dep", "deployment/other", "statefulset/sts", "daemonset/ds", "pod/two", "pod/annotated"]
    for (const target of waited) await cluster.ready(target)
    await cluster.eventually("the replica set", async () => (await cluster.get("rs", "rs")).status.readyReplicas === 1)
    for (const name of ["job", "now"])
      await cluster.eventually(name, async () => (await cluster.get("job", name)).status.ready === 1)
    admin = operatorClient(cluster.kubeconfig)
  }, 180_000)

  /** Of the container a session is about; each sample has the name of its container. */
  const nameSeen = async (target: string, params: Record<string, string> = {}) => {
    const link = await admin.connect({ namespace: cluster.namespace, target, params })
    const read = reader(link)
    link.send({ kind: "SwitchProtocolVersion", value: "1.29.0" })
    await read.next()
    link.send({ kind: "GetEnvVarsRequest", value: { envVarsFilter: [], envVarsSelect: ["SAMPLE_NAME"] } })
    const { value } = await read.nextOf("GetEnvVarsResponse")
    link.close()
    if (value.kind === "Err") throw new Error(JSON.stringify(value.value))
    return value.value.get("SAMPLE_NAME")
  }
  const labels = (label: object) => ({ label_target: JSON.stringify(label) })

  test.each<[target: string, name: string | undefined, params?: Record<string, string>]>([
    ["deployment.dep", "dep"],
    ["deploy.dep", "dep"],
    ["deployment.dep.container.dep", "dep"],
    ["replicaset.rs", "rs"],
    ["statefulset.sts", "sts"],
    ["pod.sts-0", "sts"],
    ["daemonset.ds", "ds"],
    ["job.job", "job"],
    ["cronjob.cron", "cron"],
    ["service.sts", "sts"],
    ["service.mixed.container.dep", "dep"],
    ["service.mixed.container.other", "other"],
    ["label", "ds", labels({ labels: { app: "ds" } })],
    ["label", "other", labels({ labels: { tier: "mixed" }, container: "other" })],
    ["pod.two", "two"],
    ["pod.two.container.side", "side"],
    ["pod.annotated", "side"],
    ["targetless", undefined],
  ])(
    "%s is %p",
    async (target, name, params = {}) => {
      expect(await nameSeen(target, params)).toBe(name!)
    },
    60_000,
  )

  test("a rollout, with a template of its own and with a deployment's", async () => {
    await using _ = await rolloutController(cluster)
    const { spec, ...refers } = rollout("refers")
    const { template: __, ...rest } = spec as typeof spec & { template: unknown }
    const workloadRef = { apiVersion: "apps/v1", kind: "Deployment", name: "template" }
    await cluster.apply([
      rollout("canary"),
      { ...deployment("template", { replicas: 0 }) },
      { ...refers, spec: { ...rest, selector: { matchLabels: { app: "template" } }, workloadRef } },
    ])
    for (const [name, sample] of [
      ["canary", "canary"],
      ["refers", "template"],
    ] as const) {
      await cluster.eventually(name, async () => (await cluster.get("rollout", name)).status?.phase === "Healthy")
      expect(await nameSeen(`rollout.${name}`)).toBe(sample)
    }
  }, 120_000)

  test.each([
    ["deployment.none", 404, "There is no Deployment"],
    ["deployment.dep.container.none", 404, "Choose one of: dep"],
    ["service.mixed.container.none", 404, "Choose one of"],
    ["gadget.dep", 400, "is not a target"],
  ])("%s is refused with %d", async (target, status, message) => {
    await expect(nameSeen(target)).rejects.toMatchObject({
      status,
      body: { code: status, message: expect.stringContaining(message) },
    })
  })
})
