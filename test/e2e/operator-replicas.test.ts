import { afterEach, beforeAll, describe, expect, test } from "bun:test"
import { deployment } from "../cluster/samples/workloads.ts"
import { useCluster } from "../cluster/use.ts"
import { slack } from "../slack.ts"
import { type ConnectOptions, group, newSessionId, operatorClient, reader } from "./operator/client.ts"
import { useOperator } from "./operator/install.ts"
import { operatorProcess } from "./operator/process.ts"

const cluster = useCluster("replicas")
const installed = useOperator(cluster, { operator: { replicas: 2 }, agent: { idleSeconds: 10 } })

const nameOf = (sessionId: bigint) => sessionId.toString(16).toUpperCase()
/** The API server sends each request to either replica: that so many all meet the same one is one in thousands. */
const manyTries = 12

describe.skipIf(!cluster.available)("two replicas of the operator", () => {
  let admin: ReturnType<typeof operatorClient>
  beforeAll(async () => {
    await cluster.apply(deployment("web"))
    await cluster.ready("deployment/web")
    admin = operatorClient(cluster.kubeconfig)
  }, 120_000)

  afterEach(async () => {
    await cluster.eventually(
      "the end of all sessions",
      async () => (await cluster.tryKubectl("delete", "--raw", `${group}/sessions?`)).code === 0,
    )
  })

  const openSession = async (options: Partial<ConnectOptions> = {}, client = admin) => {
    const sessionId = options.sessionId ?? newSessionId()
    const link = await client.connect({ namespace: cluster.namespace, target: "deployment.web", ...options, sessionId })
    const read = reader(link)
    link.send({ kind: "SwitchProtocolVersion", value: "1.29.0" })
    await read.nextOf("SwitchProtocolVersionResponse")
    return { sessionId, link, read }
  }
  /** The code of the refusal, from a replica that answers: for a moment the API server may still ask a dead one. */
  const refusal = (options: Partial<ConnectOptions>, client = admin) =>
    cluster.eventually("an answer", async () => {
      const status = await openSession(options, client).then(
        () => "none",
        (error) => error.status,
      )
      return status === 503 ? undefined : status
    })
  type Opened = Awaited<ReturnType<typeof openSession>>
  const steal = async ({ link, read }: Opened, port: number) => {
    link.send({ kind: "TcpSteal", value: { kind: "PortSubscribe", value: { kind: "All", value: port } } })
    const { value } = await read.nextOf("TcpSteal")
    if (value.kind !== "SubscribeResult") throw new Error(`unexpected ${value.kind}`)
    return value.value
  }
  /** The replicas that have sockets of a session: name of the pod and a mark of the process. */
  const replicasOf = async (sessionId: bigint): Promise<string[]> => {
    const lease = await cluster.get("lease", `podside-session-${sessionId.toString(16)}`, "-n", installed.namespace)
    const { replicas } = JSON.parse(lease.metadata.annotations["podside.dev/session"])
    return replicas
  }
  /** Sessions until each replica has one. */
  const oneOnEach = async (options: Partial<ConnectOptions> = {}) => {
    const found = new Map<string, Opened>()
    for (let i = 0; found.size < 2; i++) {
      if (i === 40) throw new Error("the API server sends everything to one replica")
      const session = await openSession(options)
      const [replica] = await replicasOf(session.sessionId)
      if (found.has(replica!)) session.link.close()
      else found.set(replica!, session)
    }
    return [...found].map(([replica, session]) => ({ replica, ...session }))
  }
  const podOf = (replica: string) => replica.replace(/-[0-9a-f]{8}$/, "")
  const removePod = (replica: string) =>
    cluster.kubectl("delete", "pod", podOf(replica), "-n", installed.namespace, "--grace-period=0", "--force")
  const kill = async (replica: string) => process.kill(operatorProcess(podOf(replica)), "SIGKILL")
  const skipElsewhere = () => {
    if (!cluster.own) process.stderr.write("SKIPPED: the processes of that cluster are not on this machine\n")
    return !cluster.own
  }
  const twoReady = () =>
    cluster.kubectl("rollout", "status", "deployment/podside-operator", "-n", installed.namespace, "--timeout=110s")
  const remove = (sessionId: bigint) => cluster.kubectl("delete", "--raw", `${group}/sessions/${sessionId}?`)

  test("every replica lists every session and ends any of them", async () => {
    const sessions = await oneOnEach()
    for (let i = 0; i < manyTries; i++) {
      const { items } = await cluster.get("sessions")
      const names = items.map((item: { metadata: { name: string } }) => item.metadata.name)
      for (const { sessionId } of sessions) expect(names).toContain(nameOf(sessionId))
    }
    for (const { sessionId, read } of sessions) {
      await remove(sessionId)
      expect((await read.nextOf("Close")).value).toContain("ended by")
      for (let i = 0; i < manyTries; i++) {
        await expect(openSession({ sessionId })).rejects.toMatchObject({
          status: 410,
          body: { code: 410, reason: "ReconnectNotPossible" },
        })
      }
    }
  }, 120_000)

  test("sockets of one session on both replicas are one session, with one agent", async () => {
    const sessionId = newSessionId()
    const sockets: Opened[] = []
    while ((await Promise.all(sockets.slice(0, 1).map(() => replicasOf(sessionId)))).flat().length < 2) {
      if (sockets.length === 40) throw new Error("the API server sends everything to one replica")
      sockets.push(await openSession({ sessionId }))
    }
    const { items } = await cluster.get("sessions")
    const listed = items.filter((item: { metadata: { name: string } }) => item.metadata.name === nameOf(sessionId))
    expect(listed).toHaveLength(1)
    const agents = await cluster.get("pods", "-n", installed.namespace, "-l", "app=mirrord")
    expect(agents.items).toHaveLength(1)
    await remove(sessionId)
    for (const { read } of sockets) expect((await read.nextOf("Close")).value).toContain("ended by")
  }, 120_000)

  test("a port stolen through one replica is taken on the other, until the user overrides", async () => {
    const [holder, other] = await oneOnEach()
    expect(await steal(holder!, 7000)).toEqual({ kind: "Ok", value: 7000 })
    expect(await steal(other!, 7000)).toEqual({ kind: "Err", value: { kind: "PortAlreadyStolen", value: 7000 } })
    expect(await steal(other!, 8080)).toEqual({ kind: "Ok", value: 8080 })
    for (let i = 0; i < manyTries; i++) {
      const path = `${group}/namespaces/${cluster.namespace}/targets/deployment.web/port-locks`
      const { items } = JSON.parse(await cluster.kubectl("get", "--raw", path))
      expect(items.map(({ session, port }: { session: string; port: number }) => [session, port]).sort()).toEqual(
        [
          [nameOf(holder!.sessionId), 7000],
          [nameOf(other!.sessionId), 8080],
        ].sort(),
      )
    }
    const overriding = await oneOnEach({ params: { on_concurrent_steal: "override" } })
    const elsewhere = overriding.find(({ replica }) => replica !== holder!.replica)!
    expect(await steal(elsewhere, 7000)).toEqual({ kind: "Ok", value: 7000 })
    expect((await holder!.read.nextOf("Close")).value).toContain("took port 7000 over")
    for (const { link } of [other!, ...overriding]) link.close()
  }, 120_000)

  test.each([
    ["is removed with its pod", removePod],
    ["is killed with SIGKILL", kill],
  ])(
    "a replica %s: its session is back within 5 s with its port, and is still only its user's",
    async (_how, end) => {
      if (end === kill && skipElsewhere()) return
      const [lost, other] = await oneOnEach()
      const stranger = operatorClient(cluster.kubeconfig)
      const { sessionId } = lost!
      expect(await steal(lost!, 7000)).toEqual({ kind: "Ok", value: 7000 })
      await end(lost!.replica)
      await lost!.link.ended
      // Nobody else gets the port meanwhile.
      expect(await steal(other!, 7000)).toMatchObject({ kind: "Err" })
      const lostAt = Date.now()
      // What mirrord's proxy does: the same request at once, then after pauses.
      const back = await cluster.eventually("the session is back", () => openSession({ sessionId }), {
        timeoutSeconds: 30,
      })
      expect(await steal(back, 7000)).toEqual({ kind: "Ok", value: 7000 })
      expect(Date.now() - lostAt).toBeLessThan(5_000 * slack)
      expect((await replicasOf(sessionId)).filter((replica) => replica !== lost!.replica)).toHaveLength(1)
      expect(await refusal({ sessionId }, stranger)).toBe(403)
      expect(await refusal({ sessionId, target: "pod.nothing" })).toBe(403)
      const { items } = await cluster.get("pods", "-l", "app=web")
      const socket = await Bun.connect({ hostname: items[0].status.podIP, port: 7000, socket: { data() {} } })
      expect((await back.read.nextOf("TcpSteal")).value.kind).toBe("NewConnectionV2")
      socket.end()
      // The session of the replica that lives has noticed nothing.
      other!.link.send({ kind: "Ping" })
      expect(await other!.read.nextOf("Pong")).toEqual({ kind: "Pong" })
      const events = (await cluster.get("events")).items.filter(
        ({ reason, message }: { reason: string; message: string }) =>
          reason === "SessionStarted" && message.includes(nameOf(sessionId)),
      )
      expect(events).toHaveLength(1)
      for (const { link } of [back, other!]) link.close()
      await twoReady()
    },
    240_000,
  )

  test("a replica dies and its client stays away: the port is free within 15 s", async () => {
    if (skipElsewhere()) return
    const [lost, other] = await oneOnEach()
    expect(await steal(lost!, 7000)).toEqual({ kind: "Ok", value: 7000 })
    await kill(lost!.replica)
    await lost!.link.ended
    const lostAt = Date.now()
    expect(await steal(other!, 7000)).toMatchObject({ kind: "Err" })
    await cluster.eventually("the port", async () => (await steal(other!, 7000)).kind === "Ok", {
      timeoutSeconds: 90,
    })
    expect(Date.now() - lostAt).toBeLessThan(15_000 * slack)
    other!.link.close()
    await twoReady()
  }, 180_000)

  test("nothing is left: no lock, no agent, and of sessions only that they are closed", async () => {
    const left = (kind: string) => cluster.get("leases", "-n", installed.namespace, "-l", `podside.dev/record=${kind}`)
    await cluster.eventually("no port locks", async () => (await left("port-lock")).items.length === 0)
    for (const { metadata } of (await left("session")).items) {
      expect(JSON.parse(metadata.annotations["podside.dev/session"]).closed.why).toBeString()
    }
    await cluster.eventually(
      "no agents",
      async () => (await cluster.get("pods", "-n", installed.namespace, "-l", "app=mirrord")).items.length === 0,
      { timeoutSeconds: 120 },
    )
  }, 150_000)
})
