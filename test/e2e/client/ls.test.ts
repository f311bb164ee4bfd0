import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { podsideBinary } from "../../binary.ts"
import { run } from "../../cluster/run.ts"
import { deployment, pod, statefulSet, twoContainerPod } from "../../cluster/samples/workloads.ts"
import { useCluster } from "../../cluster/use.ts"

const cluster = useCluster("ls")
const limitMs = 120_000

describe.skipIf(!cluster.available)("targets of a namespace", () => {
  const held = pod("held")
  let binary = ""
  let replica = ""

  beforeAll(async () => {
    binary = await podsideBinary()
    await cluster.apply([
      ...[deployment("web"), deployment("none", { replicas: 0 }), statefulSet("set", { replicas: 0 })],
      ...[pod("alone"), pod("agent", { labels: { app: "mirrord" } })],
      pod("imageless", { image: "podside.test/nothing:1" }),
      { ...held, metadata: { ...held.metadata, finalizers: ["podside.test/held"] } },
    ])
    for (const target of ["deployment/web", "pod/alone", "pod/agent", "pod/held"]) await cluster.ready(target)
    await cluster.kubectl("delete", "pod", "held", "--wait=false")
    replica = (await cluster.get("pods", "-l", "app=web")).items[0].metadata.name
  }, limitMs)
  afterAll(async () => {
    if (!cluster.available) return
    await cluster.kubectl("patch", "pod", "held", "--type=json", '-p=[{"op":"remove","path":"/metadata/finalizers"}]')
  })

  const ls = (words: string[] = [], kubeconfig = cluster.kubeconfig) =>
    run([binary, "ls", "-n", cluster.namespace, ...words], {
      env: { KUBECONFIG: kubeconfig, MIRRORD_OPERATOR_ENABLE: "false" },
    })
  const paths = async (...given: Parameters<typeof ls>): Promise<string[]> => JSON.parse((await ls(...given)).stdout)

  test("those that run: no agent, no pod that starts, ends or cannot start, no workload without pods", async () => {
    expect(await paths()).toEqual(["pod/alone", `pod/${replica}`, "deployment/web"])
    expect(await paths(["-t", "deployment"])).toEqual(["deployment/web"])
  })

  test("who may list pods alone sees pods; who may not even that is told", async () => {
    const [jim, sally] = [await cluster.user("jim"), await cluster.user("sally")]
    const subject = { apiGroup: "rbac.authorization.k8s.io", kind: "User", name: "jim" }
    await cluster.apply([
      {
        apiVersion: "rbac.authorization.k8s.io/v1",
        kind: "Role",
        metadata: { name: "lister" },
        rules: [{ apiGroups: [""], resources: ["pods"], verbs: ["list"] }],
      },
      {
        apiVersion: "rbac.authorization.k8s.io/v1",
        kind: "RoleBinding",
        metadata: { name: "lister" },
        roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name: "lister" },
        subjects: [subject],
      },
    ])
    await cluster.eventually("jim may", async () => (await jim.tryKubectl("get", "pods")).code === 0)
    expect(await paths([], jim.kubeconfig)).toEqual(["pod/alone", `pod/${replica}`])
    const refused = await ls([], sally.kubeconfig)
    expect(refused).toMatchObject({ code: 1, stdout: "" })
    expect(JSON.parse(refused.stderr)).toMatchObject({ severity: "error", code: "kube-forbidden" })
  })

  test("of a pod with several containers each is one to choose", async () => {
    await cluster.apply(twoContainerPod("two"))
    await cluster.ready("pod/two")
    const pods = [`pod/alone`, "pod/two/container/two", "pod/two/container/side", `pod/${replica}`]
    expect(await paths(["-t", "pod"])).toEqual(pods)
  })
})
