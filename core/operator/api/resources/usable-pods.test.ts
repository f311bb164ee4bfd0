import { expect, test } from "bun:test"
import type { Kube, RequestOptions } from "../../../kube/kube.ts"
import { type NamedPod, usablePods } from "./usable-pods.ts"

type Containers = readonly boolean[]
interface Known {
  name: string
  namespace?: string
  /** Whether each is ready. */
  containers: Containers
  phase?: string
  node?: string
  deleted?: boolean
}

const readyOnes = (containers: Containers) => containers.filter(Boolean).length

const objectOf = ({ name, namespace = "shop", containers, phase = "Running", node = "n1", deleted }: Known) => ({
  metadata: { name, namespace, ...(deleted && { deletionTimestamp: "2026-01-01T00:00:00Z" }) },
  spec: { nodeName: node, containers: containers.map((_, i) => ({ name: `c${i}` })) },
  status: {
    phase,
    containerStatuses: containers.map((ready, i) => ({ name: `c${i}`, ready, containerID: "containerd://1" })),
  },
})

const rowOf = (known: Known, withObject: boolean) => {
  const { name, namespace = "shop", containers, phase = "Running", node = "n1", deleted } = known
  const cells = [
    name,
    `${readyOnes(containers)}/${containers.length}`,
    deleted ? "Terminating" : phase,
    node || "<none>",
  ]
  return { cells, object: withObject ? { metadata: { name, namespace } } : null }
}

/** An API server with pages of pods, and what it was asked for. */
function server(pages: Known[][], sendsTables = true): { kube: Kube; asked: string[] } {
  const asked: string[] = []
  const request = async (_method: string, path: string, { query = {}, headers = {} }: RequestOptions) => {
    const at = Number(query["continue"] ?? 0)
    const asTable = sendsTables && String(headers["Accept"]).includes("as=Table")
    asked.push(`${at} ${asTable ? "table" : "whole"}`)
    expect(path).toContain("/pods")
    const metadata = at + 1 < pages.length ? { continue: String(at + 1) } : {}
    const columnDefinitions = ["Name", "Ready", "Status", "Node"].map((name) => ({ name }))
    const rows = pages[at]!.map((pod) => rowOf(pod, query["includeObject"] === "Metadata"))
    if (asTable) return { kind: "Table", metadata, columnDefinitions, rows }
    return { kind: "PodList", metadata, items: pages[at]!.map(objectOf) }
  }
  return { kube: { request } as unknown as Kube, asked }
}

const names = (pods: NamedPod[]) => pods.map(({ name }) => name)

const plain: Known[] = [
  { name: "one", containers: [true] },
  { name: "meshed", containers: [true, true] },
  { name: "broken", containers: [false] },
  { name: "all-broken", containers: [false, false] },
  { name: "going", containers: [true], deleted: true },
  { name: "done", containers: [false], phase: "Succeeded" },
  { name: "waiting", containers: [false], phase: "Pending", node: "" },
]

test("rows tell which pods can be used, page by page", async () => {
  const { kube, asked } = server([plain, [{ name: "two", containers: [true] }]])
  expect(names(await usablePods(kube, "shop"))).toEqual(["one", "meshed", "two"])
  expect(asked).toEqual(["0 table", "1 table"])
})

test("a page with a pod some of whose containers are ready is asked for whole: the first one counts", async () => {
  const mixed: Known[] = [
    { name: "first-ready", containers: [true, false] },
    { name: "second-ready", containers: [false, true] },
  ]
  const { kube, asked } = server([[...plain, ...mixed], [{ name: "two", containers: [true] }]])
  expect(names(await usablePods(kube, "shop"))).toEqual(["one", "meshed", "first-ready", "two"])
  expect(asked).toEqual(["0 table", "0 whole", "1 table"])
})

test("a word over the phase is not believed", async () => {
  const { kube, asked } = server([[{ name: "evicted", containers: [true], phase: "NodeLost" }]])
  expect(await usablePods(kube, "shop")).toEqual([])
  expect(asked).toEqual(["0 table", "0 whole"])
})

test("a server that makes no tables sends objects, which say the same", async () => {
  const { kube, asked } = server([plain], false)
  expect(names(await usablePods(kube, "shop"))).toEqual(["one", "meshed"])
  expect(asked).toEqual(["0 whole"])
})

test("of all namespaces each pod has its own", async () => {
  const pods: Known[] = [
    { name: "a", namespace: "shop", containers: [true] },
    { name: "a", namespace: "yard", containers: [true] },
  ]
  const both = [
    { name: "a", namespace: "shop" },
    { name: "a", namespace: "yard" },
  ]
  expect(await usablePods(server([pods]).kube, undefined)).toEqual(both)
  expect(await usablePods(server([pods], false).kube, undefined)).toEqual(both)
})
