import { afterEach, describe, expect, test } from "bun:test"
import { type FakeKube, type SeenRequest, startFakeKube } from "../../test/fakes/kube-server.ts"
import { openKube } from "../kube/kube.ts"
import { targetPaths } from "./target-paths.ts"

let fake: FakeKube | undefined
afterEach(() => fake?.stop())

interface Shown {
  name: string
  ready?: string
  status?: string
  containers?: string[]
}

/** Pages of pods as kube-apiserver sends them, in the form that is asked for. */
function serve(pages: Shown[][], tables = true) {
  const path = "/api/v1/namespaces/shop/pods"
  const answer = ({ headers, query }: SeenRequest) => {
    const at = Number(query["continue"] ?? 0)
    const metadata = { continue: at + 1 < pages.length ? String(at + 1) : "" }
    const pods = pages[at]!
    if (!tables || !headers["accept"]!.includes("as=Table"))
      return { kind: "PodList", metadata, items: pods.map(podOf) }
    const columnDefinitions = ["Name", "Ready", "Status", "Restarts", "Age", "IP", "Node"].map((name) => ({ name }))
    const rows = pods.map(({ name, ready = "1/1", status = "Running" }) => ({
      cells: [name, ready, status, "0", "5m", "10.0.0.1", "node"],
      object: null,
    }))
    return { kind: "Table", metadata, columnDefinitions, rows }
  }
  fake = startFakeKube({ routes: { [`GET ${path}`]: answer } })
  const list = (unready = false) => targetPaths(openKube({ kubeconfig: fake!.kubeconfig }), "pod", "shop", unready)
  const asked = () =>
    fake!.requests.map(({ headers, query }) => {
      const form = headers["accept"]!.includes("as=Table") ? "table" : "whole"
      return `${form} ${query["continue"] ?? 0}`
    })
  return { list, asked }
}

function podOf({ name, ready = "1/1", status = "Running", containers = ["app"] }: Shown) {
  const isReady = !ready.startsWith("0")
  return {
    metadata: { name, ...(status === "Terminating" && { deletionTimestamp: "2030-01-01T00:00:00Z" }) },
    spec: { nodeName: "node", containers: containers.map((each) => ({ name: each })) },
    status: {
      phase: "Running",
      containerStatuses: containers.map((each) => ({ name: each, ready: isReady, containerID: "containerd://1" })),
    },
  }
}

const two = { name: "two", ready: "2/2", containers: ["app", "side"] }
const pathsOfTwo = ["pod/two/container/app", "pod/two/container/side"]

describe("paths of pods", () => {
  test("pods with one container are told by rows alone, page by page", async () => {
    const { list, asked } = serve([
      [{ name: "a" }, { name: "starts", ready: "0/1", status: "ContainerCreating" }],
      [{ name: "ends", status: "Terminating" }, { name: "b" }],
    ])
    expect(await list()).toEqual(["pod/a", "pod/b"])
    expect(asked()).toEqual(["table 0", "table 1"])
  })

  test("with copies wanted, those that do not run count, too", async () => {
    const { list } = serve([[{ name: "starts", ready: "0/1", status: "Pending" }, { name: "a" }]])
    expect(await list(true)).toEqual(["pod/starts", "pod/a"])
  })

  test("a page with several containers is asked for whole, and the next at once", async () => {
    const { list, asked } = serve([[{ name: "a" }], [{ name: "b" }, two], [{ name: "c" }], [{ name: "d" }]])
    expect(await list()).toEqual(["pod/a", "pod/b", ...pathsOfTwo, "pod/c", "pod/d"])
    expect(asked()).toEqual(["table 0", "table 1", "whole 1", "whole 2", "table 3"])
  })

  test("containers of a mesh are none to choose from", async () => {
    const { list } = serve([[{ name: "meshed", ready: "2/2", containers: ["app", "istio-proxy"] }]])
    expect(await list()).toEqual(["pod/meshed"])
  })

  test("a reason somebody wrote over the phase hides nothing", async () => {
    const { list, asked } = serve([[{ name: "a", status: "Shady" }]])
    expect(await list()).toEqual(["pod/a"])
    expect(asked()).toEqual(["table 0", "whole 0"])
  })

  test("a server without tables is asked only once", async () => {
    const { list, asked } = serve([[{ name: "a" }, two], [{ name: "b" }]], false)
    expect(await list()).toEqual(["pod/a", ...pathsOfTwo, "pod/b"])
    expect(asked()).toEqual(["table 0", "whole 1"])
  })

  test("who may not list pods is told so; of other kinds there is then nothing", async () => {
    const refusal = { kind: "Status", code: 403, reason: "Forbidden", message: "no" }
    const forbidden = () => Response.json(refusal, { status: 403 })
    const paths = ["/api/v1/namespaces/shop/pods", "/apis/apps/v1/namespaces/shop/deployments"]
    fake = startFakeKube({ routes: Object.fromEntries(paths.map((path) => [`GET ${path}`, forbidden])) })
    const kube = openKube({ kubeconfig: fake.kubeconfig })
    await expect(targetPaths(kube, "pod", "shop", false)).rejects.toMatchObject({ code: "kube-forbidden" })
    expect(await targetPaths(kube, "deployment", "shop", false)).toEqual([])
  })
})
