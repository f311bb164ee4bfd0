import { afterEach, beforeAll, describe, expect, test } from "bun:test"
import type { ClientMessage } from "../../core/protocol/index.ts"
import { defaultName, readLayout } from "../cluster/layout.ts"
import { holderOf, processesOf } from "../cluster/processes.ts"
import { deployment } from "../cluster/samples/workloads.ts"
import { up } from "../cluster/up.ts"
import { useCluster } from "../cluster/use.ts"
import { type ConnectOptions, group, newSessionId, operatorClient, reader } from "./operator/client.ts"
import { useOperator } from "./operator/install.ts"
import { operatorProcess } from "./operator/process.ts"

/* Runs alone: it takes the cluster's API server away. */

const cluster = useCluster("outage")
const installed = useOperator(cluster, { operator: { replicas: 2 }, agent: { idleSeconds: 20 } })

const nameOf = (sessionId: bigint) => sessionId.toString(16).toUpperCase()

describe.skipIf(!cluster.available)("an outage", () => {
  let client: ReturnType<typeof operatorClient>

  beforeAll(async () => {
    await cluster.apply(deployment("web"))
    await cluster.ready("deployment/web")
    client = operatorClient(cluster.kubeconfig)
  }, 120_000)

  afterEach(async () => {
    await cluster.eventually(
      "the end of all sessions",
      async () => (await cluster.tryKubectl("delete", "--raw", `${group}/sessions?`)).code === 0,
    )
  })

  const openSession = async (options: Partial<ConnectOptions> = {}) => {
    const sessionId = options.sessionId ?? newSessionId()
    const link = await client.connect({ namespace: cluster.namespace, target: "deployment.web", ...options, sessionId })
    const read = reader(link)
    link.send({ kind: "SwitchProtocolVersion", value: "1.29.0" })
    await read.nextOf("SwitchProtocolVersionResponse")
    return { sessionId, link, read }
  }
  type Opened = Awaited<ReturnType<typeof openSession>>
  const steal = async ({ link, read }: Opened, port: number) => {
    link.send({ kind: "TcpSteal", value: { kind: "PortSubscribe", value: { kind: "All", value: port } } })
    const { value } = await read.nextOf("TcpSteal")
    if (value.kind !== "SubscribeResult") throw new Error(`unexpected ${value.kind}`)
    return value.value
  }
  const getsTraffic = async ({ read }: Opened, port: number) => {
    const { items } = await cluster.get("pods", "-l", "app=web")
    const socket = await Bun.connect({ hostname: items[0].status.podIP, port, socket: { data() {} } })
    try {
      for (;;) if ((await read.nextOf("TcpSteal")).value.kind === "NewConnectionV2") return true
    } finally {
      socket.end()
    }
  }
  const answers = async ({ link, read }: Opened) => {
    link.send({ kind: "Ping" })
    return (await read.nextOf("Pong")).kind === "Pong"
  }
  const podOf = async ({ sessionId }: Opened): Promise<string> => {
    const lease = await cluster.get("lease", `podside-session-${sessionId.toString(16)}`, "-n", installed.namespace)
    const { replicas } = JSON.parse(lease.metadata.annotations["podside.dev/session"])
    return replicas.at(-1).replace(/-[0-9a-f]{8}$/, "")
  }
  /** A session on that replica, or on any other one. */
  const openOn = async (pod: (name: string) => boolean, options: Partial<ConnectOptions> = {}): Promise<Opened> => {
    for (let i = 0; i < 40; i++) {
      const session = await openSession(options)
      if (pod(await podOf(session))) return session
      session.link.close()
    }
    throw new Error("the API server sends everything to the other replica")
  }
  const lockHolders = async () => {
    const path = `${group}/namespaces/${cluster.namespace}/targets/deployment.web/port-locks`
    const { items } = JSON.parse(await cluster.kubectl("get", "--raw", path))
    return items.map(({ session }: { session: string }) => session)
  }
  const restarts = async () => {
    const { items } = await cluster.get(
      ...["pods", "-n", installed.namespace, "-l", "app.kubernetes.io/name=podside-operator"],
    )
    return items.map((pod: { status: { containerStatuses: { restartCount: number }[] } }) => {
      return pod.status.containerStatuses[0]?.restartCount
    })
  }
  const skipElsewhere = () => {
    if (!cluster.own) process.stderr.write("SKIPPED: the processes of that cluster are not on this machine\n")
    return !cluster.own
  }

  /** Stops a replica; resolves when nobody is sent to it any more, with what lets it go on. */
  const freeze = async (pod: string) => {
    const pid = operatorProcess(pod)
    process.kill(pid, "SIGSTOP")
    const wake = () => process.kill(pid, "SIGCONT")
    try {
      await cluster.eventually("the replica is out of service", async () => {
        const { status } = await cluster.get("pod", pod, "-n", installed.namespace)
        return status.conditions.some((one: { type: string; status: string }) => {
          return one.type === "Ready" && one.status === "False"
        })
      })
      return wake
    } catch (error) {
      wake()
      throw error
    }
  }
  const stealRequests = async ({ link, read }: Opened, port: number, header: string) => {
    const value = { kind: "FilteredHttpEx" as const, value: [port, { kind: "Header" as const, value: header }] }
    link.send({ kind: "TcpSteal", value: { kind: "PortSubscribe", value } } as ClientMessage)
    const result = await read.nextOf("TcpSteal")
    return result.value.kind === "SubscribeResult" && result.value.value.kind
  }
  /** Does a request with that header reach the session? */
  const getsRequest = async ({ read }: Opened, port: number, header: [name: string, value: string]) => {
    const { items } = await cluster.get("pods", "-l", "app=web")
    const given = new AbortController()
    const url = `http://${items[0].status.podIP}:${port}/`
    const asked = fetch(url, { headers: [header], signal: given.signal }).catch(() => {})
    try {
      for (;;) if ((await read.nextOf("TcpSteal")).value.kind === "HttpRequestChunked") return true
    } finally {
      given.abort()
      await asked
    }
  }

  test("of one replica that freezes: its port is free meanwhile, and it does not have it again on waking", async () => {
    if (skipElsewhere()) return
    const frozen = await openSession()
    const pod = await podOf(frozen)
    const without = await openOn((name) => name === pod)
    const other = await openOn((name) => name !== pod)
    expect(await steal(frozen, 7000)).toEqual({ kind: "Ok", value: 7000 })
    const wake = await freeze(pod)
    try {
      await cluster.eventually("the port", async () => (await steal(other, 7000)).kind === "Ok")
      expect(await getsTraffic(other, 7000)).toBe(true)
      expect(await lockHolders()).toEqual([nameOf(other.sessionId)])
    } finally {
      wake()
    }
    // The client whose port is gone has to come back and ask again; one that had none goes on.
    await frozen.link.ended
    expect(await answers(without)).toBe(true)
    for (let i = 0; i < 3; i++) expect(await getsTraffic(other, 7000)).toBe(true)
    const back = await cluster.eventually("the session", () => openSession({ sessionId: frozen.sessionId }))
    expect(await steal(back, 7000)).toEqual({ kind: "Err", value: { kind: "PortAlreadyStolen", value: 7000 } })
    expect(await steal(back, 8080)).toEqual({ kind: "Ok", value: 8080 })
    expect(await getsTraffic(other, 7000)).toBe(true)
    expect((await lockHolders()).sort()).toEqual([nameOf(other.sessionId), nameOf(frozen.sessionId)].sort())
    expect(await restarts()).toEqual([0, 0])
    for (const { link } of [back, other, without]) link.close()
  }, 150_000)

  test("of one replica that freezes: its client comes back to another with its port, and keeps it", async () => {
    if (skipElsewhere()) return
    const frozen = await openSession()
    const { sessionId } = frozen
    const pod = await podOf(frozen)
    expect(await stealRequests(frozen, 8080, "x-user: me")).toBe("Ok")
    const wake = await freeze(pod)
    try {
      const back = await cluster.eventually("the session", () => openSession({ sessionId }))
      expect(await stealRequests(back, 8080, "x-user: me")).toBe("Ok")
      expect(await getsRequest(back, 8080, ["x-user", "me"])).toBe(true)
      wake()
      expect(await answers(frozen)).toBe(true)
      for (let i = 0; i < 3; i++) expect(await getsRequest(back, 8080, ["x-user", "me"])).toBe(true)
      expect(await lockHolders()).toEqual([nameOf(sessionId)])
      // The socket that is not used any more ends, and takes nothing with it.
      frozen.link.close()
      expect(await getsRequest(back, 8080, ["x-user", "me"])).toBe(true)
      expect(await lockHolders()).toEqual([nameOf(sessionId)])
      back.link.close()
    } finally {
      wake()
    }
  }, 150_000)

  test("of the API server: sessions are back with their ports when it is, and nothing was restarted", async () => {
    if (skipElsewhere()) return
    const sessions = [await openSession(), await openSession()]
    const [first] = sessions
    expect(await steal(first!, 7000)).toEqual({ kind: "Ok", value: 7000 })
    const agents = async () => (await cluster.get("pods", "-n", installed.namespace, "-l", "app=mirrord")).items
    const [agent] = await agents()
    const layout = readLayout(defaultName)!
    process.kill(processesOf(holderOf(layout.folder)!).get("kube-apiserver")!, "SIGKILL")
    for (const { link } of sessions) await link.ended
    await up(layout.name)
    for (const { sessionId } of sessions) {
      const back = await cluster.eventually("the session is back", () => openSession({ sessionId }))
      if (sessionId === first!.sessionId) {
        expect(await steal(back, 7000)).toEqual({ kind: "Ok", value: 7000 })
        expect(await getsTraffic(back, 7000)).toBe(true)
      }
      expect(await answers(back)).toBe(true)
    }
    expect((await agents()).map(({ metadata }: { metadata: { uid: string } }) => metadata.uid)).toEqual([
      agent.metadata.uid,
    ])
    const { items } = await cluster.get("sessions")
    const names = items.map((item: { metadata: { name: string } }) => item.metadata.name)
    expect(names.sort()).toEqual(sessions.map(({ sessionId }) => nameOf(sessionId)).sort())
    expect(await restarts()).toEqual([0, 0])
  }, 240_000)
})
