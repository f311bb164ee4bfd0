import { beforeAll, describe, expect, test } from "bun:test"
import { must } from "../cluster/run.ts"
import { deployment } from "../cluster/samples/workloads.ts"
import { useCluster } from "../cluster/use.ts"
import { slack } from "../slack.ts"
import { type ConnectOptions, newSessionId, operatorClient, Refused, reader } from "./operator/client.ts"
import { useOperator } from "./operator/install.ts"

const cluster = useCluster("faults")
const installed = useOperator(cluster, {
  agent: { idleSeconds: 5 },
  operator: { metrics: true, noPodTargetsSessionTimeoutMillis: 3000, maxConnectsPerUser: 20 },
})

/** Connects at once; the API server spends most of the time on their TLS handshakes. */
const crowd = 1000

describe.skipIf(!cluster.available)("the operator when things go wrong", () => {
  let client: ReturnType<typeof operatorClient>

  beforeAll(async () => {
    await cluster.apply(deployment("web", { replicas: 2 }))
    await cluster.ready("deployment/web")
    client = operatorClient(cluster.kubeconfig)
  }, 120_000)

  const openSession = async (options: Partial<ConnectOptions> = {}) => {
    const link = await client.connect({ namespace: cluster.namespace, target: "deployment.web", ...options })
    const read = reader(link)
    link.send({ kind: "SwitchProtocolVersion", value: "1.29.0" })
    await read.nextOf("SwitchProtocolVersionResponse")
    return { link, read }
  }
  const agents = async () => (await cluster.get("pods", "-n", installed.namespace, "-l", "app=mirrord")).items
  const running = async () => {
    const { items } = await cluster.get("pods", "-l", "app=web")
    return items.filter((pod: { metadata: { deletionTimestamp?: string } }) => !pod.metadata.deletionTimestamp)
  }

  test("a session goes on through a rollout: environment and stolen traffic come from the new pods", async () => {
    const { link, read } = await openSession()
    const hostname = async () => {
      link.send({ kind: "GetEnvVarsRequest", value: { envVarsFilter: [], envVarsSelect: ["HOSTNAME"] } })
      const { value } = await read.nextOf("GetEnvVarsResponse", 60_000)
      return value.kind === "Ok" ? value.value.get("HOSTNAME") : undefined
    }
    link.send({ kind: "TcpSteal", value: { kind: "PortSubscribe", value: { kind: "All", value: 7000 } } })
    await read.nextOf("TcpSteal")
    const old = (await running()).map((pod: { metadata: { name: string } }) => pod.metadata.name)
    expect(old).toContain(await hostname())
    await cluster.kubectl("rollout", "restart", "deployment/web")
    await cluster.ready("deployment/web")
    const pods = await cluster.eventually("only new pods", async () => {
      const items = await running()
      return items.length === 2 ? items : undefined
    })
    const names = pods.map((pod: { metadata: { name: string } }) => pod.metadata.name)
    for (const name of names) expect(old).not.toContain(name)
    // An old pod that ends a little later may have answered in between.
    await cluster.eventually("an answer from a new pod", async () => names.includes(await hostname()))
    for (const pod of pods) {
      await cluster.eventually(`stolen traffic of ${pod.metadata.name}`, async () => {
        const socket = await Bun.connect({ hostname: pod.status.podIP, port: 7000, socket: { data() {} } })
        socket.write("hello")
        try {
          for (;;) {
            const { value } = await read.nextOf("TcpSteal", 1_000)
            if (value.kind === "NewConnectionV2" && value.value.connection.localAddress === pod.status.podIP)
              return true
          }
        } finally {
          socket.end()
        }
      })
    }
    link.close()
  }, 180_000)

  test("the clients of a target that is deleted are told", async () => {
    await cluster.apply(deployment("gone"))
    await cluster.ready("deployment/gone")
    const { read } = await openSession({ target: "deployment.gone" })
    await cluster.kubectl("delete", "deployment", "gone", "--cascade=foreground")
    expect((await read.nextOf("Close", 60_000)).value).toContain("no pod that can be used")
    await expect(openSession({ target: "deployment.gone" })).rejects.toMatchObject({ status: 404 })
  }, 120_000)

  const malformed: [what: string, options: Partial<ConnectOptions>][] = [
    ["labels that are no JSON", { target: "label", params: { label_target: "{" } }],
    ["a session id of 2^64", { sessionId: 2n ** 64n }],
    ["parameters of 300 KiB", { paramsInHeader: true, params: { branch_name: "b".repeat(300 * 1024) } }],
  ]
  test.each(malformed)("%s is refused in words, and nothing else is touched", async (_what, options) => {
    const other = await openSession()
    const before = (await agents()).length
    const refusal = await openSession(options).catch((error) => error)
    expect(refusal).toBeInstanceOf(Refused)
    expect(refusal.body).toMatchObject({ kind: "Status", code: 400, message: expect.stringMatching(/\w+ \w+/) })
    expect((await agents()).length).toBe(before)
    other.link.send({ kind: "Ping" })
    expect(await other.read.nextOf("Pong")).toEqual({ kind: "Pong" })
    other.link.close()
  })

  test("a namespace that is deleted takes its sessions along, and leaves no lock and no complaint", async () => {
    const namespace = `${cluster.namespace}-short`
    await cluster.kubectl("create", "namespace", namespace)
    const inside = (object: ReturnType<typeof deployment>) => {
      return { ...object, metadata: { ...object.metadata, namespace } }
    }
    await cluster.eventually("the namespace's account", () => cluster.get("serviceaccount", "default", "-n", namespace))
    const env = { KUBECONFIG: cluster.kubeconfig }
    await must(["kubectl", "apply", "-f", "-"], { env, input: JSON.stringify(inside(deployment("web"))) })
    await cluster.kubectl("rollout", "status", "deployment/web", "-n", namespace, "--timeout=60s")
    const { link, read } = await openSession({ namespace })
    link.send({ kind: "TcpSteal", value: { kind: "PortSubscribe", value: { kind: "All", value: 7000 } } })
    expect((await read.nextOf("TcpSteal")).value).toMatchObject({ kind: "SubscribeResult", value: { kind: "Ok" } })
    await cluster.kubectl("delete", "namespace", namespace, "--wait=false")
    expect((await read.nextOf("Close", 60_000)).value).toMatch(/ended by|no pod that can be used/)
    const leases = async (record: string) =>
      (await cluster.get("leases", "-n", installed.namespace, "-l", `podside.dev/record=${record}`)).items
    await cluster.eventually("no lock", async () => (await leases("port-lock")).length === 0)
    await cluster.eventually("the end of the namespace", async () => {
      return (await cluster.tryKubectl("get", "namespace", namespace)).code !== 0
    })
    await expect(openSession({ namespace })).rejects.toMatchObject({ status: 404 })
    expect(await installed.logs()).not.toContain("Events were not written")
  }, 120_000)

  test(`of ${crowd} connects at once of one user most are put off, and others go on`, async () => {
    const other = await openSession()
    const mine = operatorClient(cluster.kubeconfig)
    const certificate = await mine.credential()
    const results = await Promise.allSettled(
      Array.from({ length: crowd }, () =>
        mine.connect({ namespace: cluster.namespace, target: "deployment.web", certificate }),
      ),
    )
    const refused = results.flatMap((result) => (result.status === "rejected" ? [result.reason] : []))
    expect(refused.length).toBeGreaterThan(0)
    for (const refusal of refused) {
      expect(refusal).toBeInstanceOf(Refused)
      expect(refusal.status).toBe(429)
      expect(refusal.retryAfter).toBe("1")
      expect(refusal.body.message).toContain("the limit is 20")
    }
    for (const result of results) if (result.status === "fulfilled") result.value.close()
    other.link.send({ kind: "Ping" })
    expect(await other.read.nextOf("Pong")).toEqual({ kind: "Pong" })
    other.link.close()
    const again = await openSession()
    again.link.close()
  }, 120_000)

  test("the series tell what happened", async () => {
    const { items } = await cluster.get(
      "pods",
      "-n",
      installed.namespace,
      "-l",
      "app.kubernetes.io/name=podside-operator",
    )
    const text = await (await fetch(`http://${items[0].status.podIP}:9000/metrics`)).text()
    expect(text).toMatch(
      /mirrord_sessions_create_total\{client_hostname="test-desk",client_name="Tess Ter",client_user="admin",user_id="[^"]{43}"\} \d+/,
    )
    expect(text).toMatch(
      /mirrord_stolen_connections_count\{port="7000",namespace="faults-[^"]+",target="deployment\/web",[^}]*\} \d+/,
    )
    expect(text).toContain("# TYPE mirrord_sessions_duration histogram")
  })

  test("a replica that is killed: its client is back on another one within 5 s, with the same session", async () => {
    await installed.change({ agent: { idleSeconds: 5 }, operator: { replicas: 2 } })
    const sessionId = newSessionId()
    const { link } = await openSession({ sessionId })
    const name = sessionId.toString(16).toUpperCase()
    const { items } = await cluster.get(
      "pods",
      "-n",
      installed.namespace,
      "-l",
      "app.kubernetes.io/name=podside-operator",
    )
    const ready = items.filter((pod: { metadata: { deletionTimestamp?: string } }) => !pod.metadata.deletionTimestamp)
    for (const pod of ready) {
      const log = await cluster.kubectl("logs", "-n", installed.namespace, pod.metadata.name)
      if (!log.includes(name)) continue
      await cluster.kubectl(
        "delete",
        "pod",
        "-n",
        installed.namespace,
        pod.metadata.name,
        "--grace-period=0",
        "--force",
      )
    }
    await link.ended
    const lostAt = Date.now()
    // What mirrord's proxy does: the same request again, at once and then after a pause.
    const back = await cluster.eventually("the session is back", () => openSession({ sessionId }), {
      timeoutSeconds: 30,
    })
    expect(Date.now() - lostAt).toBeLessThan(5_000 * slack)
    back.link.send({ kind: "GetEnvVarsRequest", value: { envVarsFilter: [], envVarsSelect: ["SAMPLE_NAME"] } })
    const { value } = await back.read.nextOf("GetEnvVarsResponse")
    expect(value.kind === "Ok" && value.value.get("SAMPLE_NAME")).toBe("web")
    back.link.close()
  }, 120_000)

  test.each([
    ["an agent image that is missing", { image: "podside:nowhere" }, /ErrImageNeverPull|not present/],
    [
      "a node without room",
      { startupSeconds: 5, extraConfig: { resources: { requests: { cpu: "1000" } } } },
      /Insufficient cpu|OutOfcpu/,
    ],
  ])(
    "%s is said, and no agent is left behind",
    async (_what, agent, said) => {
      await installed.change({ agent: { idleSeconds: 5, ...agent } })
      await cluster.eventually("no agents of before", async () => (await agents()).length === 0)
      await expect(openSession()).rejects.toMatchObject({
        status: 500,
        body: { kind: "Status", message: expect.stringMatching(said) },
      })
      await cluster.eventually("no agents", async () => (await agents()).length === 0)
    },
    150_000,
  )
})
