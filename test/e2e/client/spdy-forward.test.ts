import { beforeAll, describe, expect, test } from "bun:test"
import { openKube } from "../../../core/kube/kube.ts"
import { openSpdyForward } from "../../../core/kube/port-forward.ts"
import { deployment } from "../../cluster/samples/workloads.ts"
import { useCluster } from "../../cluster/use.ts"

/* Sessions only use SPDY where WebSockets are refused, which no server here does: this is what shows that a real one agrees. */

const cluster = useCluster("spdy")

describe.skipIf(!cluster.available)("a forward over SPDY", () => {
  beforeAll(async () => {
    await cluster.apply(deployment("web"))
    await cluster.ready("deployment/web")
  }, 120_000)

  const open = async (port: number) => {
    const [{ metadata }] = (await cluster.get("pods", "-l", "app=web")).items
    const access = await openKube({ kubeconfig: cluster.kubeconfig }).access()
    const forward = await openSpdyForward(access, { namespace: cluster.namespace, name: metadata.name, port })
    if (!forward) throw new Error("the API server does not let SPDY through")
    return forward
  }

  test("reaches the pod's port, and ends with it", async () => {
    const forward = await open(8080)
    const ended = Promise.withResolvers<Error | undefined>()
    let answer = ""
    forward.attach({
      data: (bytes) => void (answer += Buffer.from(bytes).toString()),
      drain() {},
      closed: ended.resolve,
    })
    forward.write(Buffer.from("GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n"))
    expect(await ended.promise).toBeInstanceOf(Error)
    expect(answer).toStartWith("HTTP/1.1 200 OK\r\n")
  })

  test("ends at once where nobody listens", async () => {
    const forward = await open(9)
    const ended = Promise.withResolvers<Error | undefined>()
    forward.attach({ data() {}, drain() {}, closed: ended.resolve })
    expect((await ended.promise)?.message).toContain("Cannot forward port 9 of pod")
  })
})
