import { readFileSync } from "node:fs"
import { openKube } from "../../../core/kube/kube.ts"
import { must } from "../../cluster/run.ts"
import { withOperator } from "./operator.ts"
import { openStage, type Stage } from "./stage.ts"
import { median, printTable } from "./table.ts"

/*
 * bun test/bench/cluster/targets.ts [TARGETS]: lists of a namespace with ten thousand targets. They are pods, the largest kind,
 * and objects only: bound to a node that is none, with a status as a kubelet writes it, so that no controller has work by them.
 */

const total = Number(process.argv[2] ?? 10_000)
const atOnce = 24
const times = 5
const node = `bench-${crypto.randomUUID().slice(0, 8)}`
const say = (line: string) => void process.stderr.write(`${line}\n`)

/** As much as real ones have: what a list costs is the size of what it is made of. */
function podSpec(name: string) {
  const env = Array.from({ length: 12 }, (_, i) => ({ name: `SETTING_${i}`, value: `a value of ${name}, number ${i}` }))
  return { containers: [{ name: "app", image: "registry.example/team/app:1", env, ports: [{ containerPort: 8080 }] }] }
}

const pod = (name: string) => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name, labels: { app: name } },
  spec: { ...podSpec(name), nodeName: node, tolerations: [{ operator: "Exists" }], terminationGracePeriodSeconds: 0 },
})

const running = {
  status: {
    phase: "Running",
    podIP: "10.254.0.1",
    containerStatuses: [
      {
        name: "app",
        ready: true,
        restartCount: 0,
        image: "registry.example/team/app:1",
        imageID: "",
        containerID: `containerd://${"0".repeat(64)}`,
        state: { running: { startedAt: new Date().toISOString() } },
      },
    ],
  },
}

async function make({ namespace, kubeconfig }: Stage): Promise<void> {
  const kube = openKube({ kubeconfig })
  await kube.request("POST", "/api/v1/nodes", { body: { apiVersion: "v1", kind: "Node", metadata: { name: node } } })
  const pods = `/api/v1/namespaces/${namespace}/pods`
  let next = 0
  const more = async () => {
    while (next < total) {
      const name = `target-${next++}`
      await kube.request("POST", pods, { body: pod(name) })
      const contentType = "application/merge-patch+json"
      await kube.request("PATCH", `${pods}/${name}/status`, { body: running, contentType })
    }
  }
  await Promise.all(Array.from({ length: atOnce }, more))
}

/** The operator's process, by the pod its control group is of. */
async function operatorPid({ kubectl }: Stage, namespace: string): Promise<number> {
  const uid = await kubectl("get", "pods", "-n", namespace, "-o", "jsonpath={.items[0].metadata.uid}")
  const marks = [uid.trim(), uid.trim().replaceAll("-", "_")]
  for (const pid of new Bun.Glob("[0-9]*").scanSync({ cwd: "/proc", onlyFiles: false })) {
    try {
      const [group, words] = ["cgroup", "cmdline"].map((name) => readFileSync(`/proc/${pid}/${name}`, "utf8"))
      if (marks.some((mark) => group!.includes(mark)) && words!.includes("operator")) return Number(pid)
    } catch {
      // It has ended meanwhile.
    }
  }
  throw new Error("the operator's process was not found")
}

function memory(pid: number, name: "VmRSS" | "VmHWM"): string {
  const status = readFileSync(`/proc/${pid}/status`, "utf8")
  return `${(Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(status)?.[1]) / 1024).toFixed(0)} MiB`
}

async function timed(what: () => Promise<unknown>): Promise<{ ms: number; all: string }> {
  const took: number[] = []
  for (let time = 0; time < times; time++) {
    const start = performance.now()
    await what()
    took.push(performance.now() - start)
  }
  return { ms: median(took), all: took.map((one) => one.toFixed(0)).join(", ") }
}

const stage = await openStage(say)
try {
  const { kubectl, namespace, kubeconfig } = stage
  // The pods go with their namespace: they need no time to end.
  stage.leftovers.add(() => kubectl("delete", "node", node, "--ignore-not-found").then(() => {}))
  const command = stage.podside({ operator: true }, "ls", "-n", namespace)
  const ls = async () => JSON.parse(await must(command, { cwd: "/" })) as string[]
  await withOperator(stage, async (operatorNamespace) => {
    const pid = await operatorPid(stage, operatorNamespace)
    say(`${total} targets are made ...`)
    await make(stage)
    const before = memory(pid, "VmRSS")
    const kube = openKube({ kubeconfig })
    const path = `/apis/operator.metalbear.co/v1/namespaces/${namespace}/targets`
    const list = async () => (await kube.request<{ items: unknown[] }>("GET", path)).items
    const shown = (await ls()).length
    if (shown < total) throw new Error(`podside ls shows ${shown} of ${total}`)
    const row = (name: string, { ms, all }: { ms: number; all: string }) => ({
      name,
      ratio: ms / 1000,
      limit: { atMost: 2 },
      of: "s",
      seen: `ms: ${all}`,
    })
    printTable(`Lists of ${total} targets`, [
      row("podside ls", await timed(ls)),
      row("the operator's targets", await timed(list)),
      row("kubectl get targets", await timed(() => kubectl("get", "targets"))),
    ])
    console.log(`podside ls shows ${shown}; the operator's list ${(await list()).length}`)
    console.log(
      `the operator's memory: ${before} before, ${memory(pid, "VmRSS")} after, at most ${memory(pid, "VmHWM")}`,
    )
  })
} finally {
  await stage.close()
}
