import { beforeAll, describe, expect, test } from "bun:test"
import { connect as connectHttp2 } from "node:http2"
import { rollout, rolloutController } from "./samples/rollouts.ts"
import { cronJob, daemonSet, deployment, job, pod, service, statefulSet } from "./samples/workloads.ts"
import { useCluster } from "./use.ts"

const cluster = useCluster("samples")

describe.skipIf(!cluster.available)("workloads of every kind", () => {
  test("deployment, stateful set, daemon set and job serve; a cron job's job does, too", async () => {
    await cluster.apply([
      deployment("dep", { replicas: 2 }),
      ...[statefulSet("sts"), service("sts", { clusterIP: "None" })],
      ...[daemonSet("ds"), job("job"), cronJob("cron"), job("ends", { command: ["/bin/sample", "exit"] })],
    ])
    await cluster.kubectl("create", "job", "now", "--from=cronjob/cron")
    for (const target of ["deployment/dep", "statefulset/sts", "daemonset/ds", "pod/sts-0"]) await cluster.ready(target)
    for (const name of ["job", "now"]) {
      await cluster.eventually(name, async () => (await cluster.get("job", name)).status.ready === 1)
    }
    await cluster.kubectl("wait", "--for=condition=Complete", "job/ends", "--timeout=110s")
    expect((await cluster.get("pods", "-l", "app=dep")).items).toHaveLength(2)
  }, 120_000)

  test("a rollout owns a replica set per template, and only the newest has pods", async () => {
    await using _ = await rolloutController(cluster)
    await cluster.apply(rollout("canary"))
    const hashWhenReady = (state: string) =>
      cluster.eventually(`rollout ${state}`, async () => {
        const { status } = await cluster.get("rollout", "canary")
        return status?.phase === "Healthy" && status.currentPodHash
      })
    const first = await hashWhenReady("ready")
    await cluster.apply(rollout("canary", { environment: { CHANGED: "yes" } }))
    const second = await cluster.eventually("another hash", async () => {
      const hash = await hashWhenReady("changed")
      return hash !== first && hash
    })
    const sets = (await cluster.get("replicasets", "-l", "app=canary")).items
    const replicas = Object.fromEntries(
      sets.map((set: { metadata: { name: string }; spec: { replicas: number } }) => [
        set.metadata.name,
        set.spec.replicas,
      ]),
    )
    expect(replicas).toEqual({ [`canary-${first}`]: 0, [`canary-${second}`]: 1 })
    expect(sets[0].metadata.ownerReferences).toMatchObject([{ kind: "Rollout", name: "canary", controller: true }])
  }, 120_000)
})

describe.skipIf(!cluster.available)("the echo sample", () => {
  beforeAll(async () => {
    await cluster.apply([pod("echo"), service("echo")])
    await cluster.ready("pod/echo")
  }, 120_000)

  test("HTTP/1.1: method, path, headers and body come back", async () => {
    await using forwarding = await cluster.forward("pod/echo", 8080)
    const response = await fetch(`http://127.0.0.1:${forwarding.port}/a?b=c`, {
      method: "PUT",
      body: "text",
      headers: { "x-test": "1" },
    })
    const seen = (await response.json()) as { headers: Record<string, string[]> }
    expect(seen).toMatchObject({ protocol: "HTTP/1.1", method: "PUT", path: "/a?b=c", body: "text" })
    expect(seen.headers["X-Test"]).toEqual(["1"])
  })

  test("HTTP/2 without TLS: a gRPC-like stream answers message by message and ends with its status", async () => {
    await using forwarding = await cluster.forward("pod/echo", 8080)
    const session = connectHttp2(`http://127.0.0.1:${forwarding.port}`)
    const stream = session.request({
      ":method": "POST",
      ":path": "/test.Echo/Stream",
      "content-type": "application/grpc",
    })
    const chunks: string[] = []
    const trailers = new Promise<Record<string, unknown>>((resolve) => stream.on("trailers", resolve))
    const next = () =>
      new Promise<string>((resolve) => stream.once("data", (data: Buffer) => resolve(data.toString("latin1"))))
    for (const text of ["one", "two"]) {
      const answer = next()
      stream.write(Buffer.from(`\0\0\0\0\x03${text}`, "latin1"))
      chunks.push(await answer)
    }
    stream.end()
    stream.resume()
    expect(chunks).toEqual(["\0\0\0\0\x03one", "\0\0\0\0\x03two"])
    expect((await trailers)["grpc-status"]).toBe("0")
    await new Promise<void>((resolve) => session.close(resolve))
  })

  test("WebSocket: text, large and binary messages come back", async () => {
    await using forwarding = await cluster.forward("pod/echo", 8080)
    const socket = new WebSocket(`ws://127.0.0.1:${forwarding.port}/ws`)
    socket.binaryType = "arraybuffer"
    const once = (event: string) =>
      new Promise<MessageEvent>((resolve) => socket.addEventListener(event, resolve as never, { once: true }))
    await once("open")
    for (const message of ["short", "x".repeat(70_000), new Uint8Array([0, 255, 1])]) {
      const answer = once("message")
      socket.send(message)
      const { data } = await answer
      expect(typeof data === "string" ? data : new Uint8Array(data)).toEqual(message)
    }
    const closed = once("close")
    socket.close()
    await closed
  })

  test("the slow route waits as long as it is told", async () => {
    await using forwarding = await cluster.forward("pod/echo", 8080)
    const started = performance.now()
    expect(await (await fetch(`http://127.0.0.1:${forwarding.port}/slow?ms=300`)).text()).toBe("slow")
    expect(performance.now() - started).toBeGreaterThanOrEqual(299)
  })

  test("IPv6 reaches the pod and its service where the cluster has it", async () => {
    const { status } = await cluster.get("pod", "echo")
    const v6 = status.podIPs.map(({ ip }: { ip: string }) => ip).find((ip: string) => ip.includes(":"))
    if (!v6) return console.error("SKIPPED: this cluster has no IPv6")
    const addresses = [
      v6,
      ...(await cluster.get("service", "echo")).spec.clusterIPs.filter((ip: string) => ip.includes(":")),
    ]
    expect(addresses).toHaveLength(2)
    for (const ip of addresses) {
      const text = await cluster.kubectl("exec", "echo", "--", "sample", "get", `http://[${ip}]:8080/`)
      expect(JSON.parse(text).name).toBe("echo")
    }
    expect(await cluster.kubectl("exec", "echo", "--", "sample", "resolve", `echo.${cluster.namespace}`)).toContain(
      addresses[1],
    )
  })
})

describe.skipIf(!cluster.available)("the sample with odd files", () => {
  beforeAll(async () => {
    await cluster.apply(pod("files", { image: await cluster.importFilesImage() }))
    await cluster.ready("pod/files")
  }, 120_000)
  const sh = (script: string) => cluster.tryKubectl("exec", "files", "--", "sh", "-c", script)

  test("a chain of links ends at its file, a loop and a dangling link do not", async () => {
    expect((await sh("cat links/1")).stdout).toBe("plain\n")
    expect((await sh("cat links/upwards")).stdout).toStartWith("root:x:0:0")
    for (const name of ["loop", "dangling"]) expect((await sh(`cat links/${name}`)).code).not.toBe(0)
  })

  test("its user may read what is open and not what is root's", async () => {
    expect((await sh("cat plain.txt")).stdout).toBe("plain\n")
    for (const path of ["secret", "closed/inside"])
      expect((await sh(`cat ${path}`)).stderr).toContain("Permission denied")
  })

  test("names keep their bytes, the big file its size, the full folder its entries", async () => {
    expect((await sh("cat names/not*")).stdout).toBe("bytes\n")
    expect((await sh("cat names/with*line; ls names | wc -l")).stdout).toBe("newline\n4\n")
    expect((await sh("wc -c < big; ls many | wc -l")).stdout).toBe(`${8 << 20}\n1000\n`)
  })
})
