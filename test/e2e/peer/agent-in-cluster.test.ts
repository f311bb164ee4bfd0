import { beforeAll, describe, expect, test } from "bun:test"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { findContainer } from "../../../agent/target/find-container.ts"
import type { HttpFilter } from "../../../core/protocol/index.ts"
import { deployment } from "../../cluster/samples/workloads.ts"
import { useCluster } from "../../cluster/use.ts"
import { header, headersOf } from "../incoming/kit.ts"
import { MirrordClient } from "./mirrord-client.ts"

/* The objects a mirrord 3.250 command line creates, written out by hand, with podside's image in them. */

const cluster = useCluster("peer")
const limitMs = 240_000
const port = 41_337
const gid = 34_567

/** In the order the client writes them; `targeted` or not makes no difference but for the pod's addresses. */
const environment = (podIps?: string) =>
  Object.entries({
    RUST_LOG: "mirrord=trace",
    MIRRORD_AGENT_STEALER_FLUSH_CONNECTIONS: "true",
    MIRRORD_AGENT_JSON_LOG: "true",
    MIRRORD_AGENT_PASSTHROUGH_MIRRORING: "true",
    MIRRORD_MAX_BODY_BUFFER_SIZE: "65535",
    MIRRORD_MAX_BODY_BUFFER_TIMEOUT: "1000",
    MIRRORD_AGENT_HTTP_DETECTION_TIMEOUT: "2",
    MIRRORD_JAQ_TIME_LIMIT: "1",
    ...(podIps && { MIRRORD_AGENT_POD_IPS: podIps }),
    MIRRORD_AGENT_EXTERNAL_IP_FIX: "true",
    MIRRORD_AGENT_OVERRIDE_CACHE_CONTROL: "true",
  }).map(([name, value]) => ({ name, value }))

const readyLine = /^agent ready( - version (\S+))?$/m

describe.skipIf(!cluster.available)("objects as mirrord's command line makes them:", () => {
  let image: string
  beforeAll(async () => {
    image = await cluster.importPodsideImage()
    await cluster.apply(deployment("web", { environment: { GREETING: "from the pod" } }))
    await cluster.ready("deployment/web")
  }, 300_000)

  const target = async () => {
    const [pod] = (await cluster.get("pods", "-l", "app=web")).items
    const [runtime, id] = pod.status.containerStatuses[0].containerID.split("://")
    const ips = pod.status.podIPs.map(({ ip }: { ip: string }) => ip).join(",")
    return { pod, runtime, id, ips }
  }

  const job = (name: string, args: string[], spec: object, container: object) => ({
    apiVersion: "batch/v1",
    kind: "Job",
    metadata: {
      name,
      labels: { "kuma.io/sidecar-injection": "disabled", app: "mirrord" },
      annotations: { "sidecar.istio.io/inject": "false", "linkerd.io/inject": "disabled" },
    },
    spec: {
      ttlSecondsAfterFinished: 1,
      backoffLimit: 0,
      template: {
        metadata: {
          labels: { "kuma.io/sidecar-injection": "disabled", app: "mirrord" },
          annotations: { "sidecar.istio.io/inject": "false", "linkerd.io/inject": "disabled" },
        },
        spec: {
          restartPolicy: "Never",
          ...spec,
          containers: [
            {
              name: "mirrord-agent",
              image,
              imagePullPolicy: "IfNotPresent",
              command: ["./mirrord-agent"],
              args: ["-l", String(port), "-t", "30", ...args],
              resources: { requests: { cpu: "1m", memory: "1Mi" }, limits: { cpu: "1", memory: "100Mi" } },
              ...container,
            },
          ],
        },
      },
    },
  })

  /** The client's wait: the container's log until it says that the agent is ready. */
  const ready = (pod: string, container: string) =>
    cluster.eventually("the ready line", async () => {
      const { stdout } = await cluster.tryKubectl("logs", pod, "-c", container)
      return readyLine.test(stdout) ? stdout : undefined
    })

  const podOf = async (name: string): Promise<string> => {
    const found = await cluster.eventually(`the pod of ${name}`, async () => {
      const { items } = await cluster.get("pods", "-l", `job-name=${name}`)
      return items[0]?.status.containerStatuses?.[0]?.ready ? items[0] : undefined
    })
    return found.metadata.name
  }

  /** Environment and a file as the command line and the internal proxy read them, on two connections at once. */
  async function useTarget(at: { hostname: string; port: number }, hostname: string) {
    const first = await MirrordClient.dial(at)
    await first.negotiate("1.29.0")
    const variables = await first.environment()
    const proxy = await MirrordClient.internalProxy(at)
    first.hangUp()
    expect(variables.kind === "Ok" && variables.value.get("GREETING")).toBe("from the pod")
    const openOptions = { read: true, write: false, append: false, truncate: false, create: false, createNew: false }
    const opened = await proxy.file({ kind: "Open", value: { path: "/etc/hostname", openOptions } })
    expect(opened).toMatchObject({ kind: "Ok", value: { fd: 0n } })
    const read = await proxy.file({ kind: "ReadLimited", value: { remoteFd: 0n, bufferSize: 128_000n, startFrom: 0n } })
    expect(Buffer.from((read as { value: { bytes: Uint8Array } }).value.bytes).toString()).toBe(`${hostname}\n`)
    expect(await proxy.lookUp("kubernetes.default", "Ipv4Only")).toMatchObject({ kind: "Ok" })
    return proxy
  }

  async function stealOne(proxy: MirrordClient, ip: string) {
    const filter: HttpFilter = header("x-user: me")
    const subscribed = await proxy.subscribe({
      kind: "TcpSteal",
      value: { kind: "PortSubscribe", value: { kind: "FilteredHttpEx", value: [8080, filter] } },
    })
    expect(subscribed).toBe("Ok 8080")
    const answer = fetch(`http://${ip}:8080/a`, { headers: { "x-user": "me" }, keepalive: false })
    const request = await proxy.traffic()
    if (request.kind !== "HttpRequestChunked" || request.value.kind !== "StartV2") throw new Error(request.kind)
    const { connectionId } = request.value.value
    proxy.steal({
      kind: "HttpResponseFramed",
      value: {
        port: 8080,
        connectionId,
        requestId: 0,
        internalResponse: {
          status: 200,
          version: "HTTP/1.1",
          headers: headersOf(),
          body: [{ kind: "Data", value: Buffer.from("mine") }],
        },
      },
    })
    expect(await (await answer).text()).toBe("mine")
    expect(await proxy.traffic()).toEqual({ kind: "Close", value: { connectionId } })
    expect(await (await fetch(`http://${ip}:8080/b`, { keepalive: false })).text()).toContain('"path":"/b"')
  }

  /** Starts the Job beside the target's container and waits until it is ready; its pod. */
  async function startBeside(name: string, { pod, runtime, id, ips }: Awaited<ReturnType<typeof target>>) {
    const spec = {
      hostPID: true,
      nodeSelector: {},
      nodeName: pod.spec.nodeName,
      tolerations: [{ operator: "Exists" }],
      volumes: [
        { name: "hostrun", hostPath: { path: "/run" } },
        { name: "hostvar", hostPath: { path: "/var" } },
      ],
    }
    const container = {
      env: environment(ips),
      securityContext: {
        runAsGroup: gid,
        privileged: false,
        capabilities: { add: ["SYS_ADMIN", "SYS_PTRACE", "NET_ADMIN"] },
      },
      volumeMounts: [
        { name: "hostrun", mountPath: "/host/run" },
        { name: "hostvar", mountPath: "/host/var" },
      ],
    }
    await cluster.apply(job(name, ["targeted", "--container-id", id, "--container-runtime", runtime], spec, container))
    const agentPod = await podOf(name)
    return { agentPod, log: await ready(agentPod, "mirrord-agent") }
  }

  test(
    "a Job beside a container",
    async () => {
      const beside = await target()
      const { pod } = beside
      const name = "mirrord-agent-a1b2c3d4e5"
      const { agentPod, log } = await startBeside(name, beside)
      // With JSON logs every other line is one.
      for (const line of log
        .trim()
        .split("\n")
        .filter((line) => !readyLine.test(line)))
        JSON.parse(line)
      await using forwarding = await cluster.forward(`pod/${agentPod}`, port)
      const proxy = await useTarget({ hostname: "127.0.0.1", port: forwarding.port }, pod.metadata.name)
      await stealOne(proxy, pod.status.podIP)
      proxy.hangUp()
      // The agent ends with its last client, and its Job with it.
      await cluster.eventually("the Job's end", async () => (await cluster.tryKubectl("get", "job", name)).code !== 0)
    },
    limitMs,
  )

  test(
    "a Job whose container is started again says so and ends",
    async () => {
      if (!cluster.own) return console.warn("SKIPPED: the processes of this cluster's nodes are out of reach")
      const beside = await target()
      const name = "mirrord-agent-p6q7r8s9t0"
      const { agentPod } = await startBeside(name, beside)
      await using forwarding = await cluster.forward(`pod/${agentPod}`, port)
      const proxy = await MirrordClient.internalProxy({ hostname: "127.0.0.1", port: forwarding.port })
      expect(await proxy.environment()).toMatchObject({ kind: "Ok" })
      // The node's processes are this machine's.
      process.kill(findContainer(beside.id), "SIGKILL")
      await cluster.eventually("the reason", async () => proxy.closed)
      expect(proxy.closed).toBe("The target container has ended")
      await cluster.eventually("the Job's end", async () => (await cluster.tryKubectl("get", "job", name)).code !== 0)
      await cluster.eventually("the container's next life", async () => {
        const { pod, id } = await target()
        return id !== beside.id && pod.status.containerStatuses[0].ready
      })
    },
    limitMs,
  )

  test(
    "a Job without a target",
    async () => {
      const name = "mirrord-agent-f6g7h8i9j0"
      await cluster.apply(job(name, ["targetless"], { nodeSelector: {} }, { env: environment() }))
      const agentPod = await podOf(name)
      await ready(agentPod, "mirrord-agent")
      await using forwarding = await cluster.forward(`pod/${agentPod}`, port)
      const proxy = await MirrordClient.internalProxy({ hostname: "127.0.0.1", port: forwarding.port })
      expect(await proxy.environment()).toMatchObject({ kind: "Ok" })
      expect(await proxy.lookUp("kubernetes.default", "Ipv4Only")).toMatchObject({ kind: "Ok" })
      proxy.steal({ kind: "PortSubscribe", value: { kind: "All", value: 80 } })
      await proxy.ping()
      expect(proxy.closed).toBe("incoming traffic stealing is not available in the targetless mode")
      proxy.hangUp()
    },
    limitMs,
  )

  test(
    "an ephemeral container",
    async () => {
      const { pod, ips } = await target()
      const name = "mirrord-agent-k1l2m3n4o5"
      const { resourceVersion: _, managedFields: __, ...metadata } = pod.metadata
      const container = {
        name,
        image,
        imagePullPolicy: "IfNotPresent",
        targetContainerName: pod.spec.containers[0].name,
        command: ["./mirrord-agent"],
        args: ["-l", String(port), "-t", "30", "ephemeral"],
        securityContext: {
          runAsGroup: gid,
          capabilities: { add: ["SYS_ADMIN", "SYS_PTRACE", "NET_ADMIN"] },
          privileged: false,
        },
        env: [...environment(ips), ...(pod.spec.containers[0].env ?? [])],
      }
      const body = { ...pod, metadata, spec: { ...pod.spec, ephemeralContainers: [container] } }
      const path = `/api/v1/namespaces/${cluster.namespace}/pods/${pod.metadata.name}/ephemeralcontainers`
      const folder = mkdtempSync(join(tmpdir(), "podside-peer-"))
      try {
        await Bun.write(join(folder, "body.json"), JSON.stringify(body))
        await cluster.kubectl("replace", "--raw", path, "-f", join(folder, "body.json"))
      } finally {
        rmSync(folder, { recursive: true })
      }
      await ready(pod.metadata.name, name)
      await using forwarding = await cluster.forward(`pod/${pod.metadata.name}`, port)
      const proxy = await useTarget({ hostname: "127.0.0.1", port: forwarding.port }, pod.metadata.name)
      await stealOne(proxy, pod.status.podIP)
      proxy.hangUp()
      const ended = await cluster.eventually("the agent's end", async () => {
        const { status } = await cluster.get("pod", pod.metadata.name)
        return status.ephemeralContainerStatuses?.[0]?.state?.terminated
      })
      expect(ended).toMatchObject({ exitCode: 0 })
    },
    limitMs,
  )
})
