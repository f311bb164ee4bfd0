import { afterEach, beforeAll, describe, expect, test } from "bun:test"
import type { ClientMessage } from "../../core/protocol/index.ts"
import { defaultName, readLayout } from "../cluster/layout.ts"
import { holderOf, processesOf } from "../cluster/processes.ts"
import { deployment } from "../cluster/samples/workloads.ts"
import { up } from "../cluster/up.ts"
import { useCluster } from "../cluster/use.ts"
import { slack } from "../slack.ts"
import { type ConnectOptions, group, newSessionId, operatorClient, reader } from "./operator/client.ts"
import { useOperator } from "./operator/install.ts"
import { operatorProcess } from "./operator/process.ts"

/* Runs alone: it takes the cluster's API server away. */

const cluster = useCluster("outage")
const installed = useOperator(cluster, { operator: { replicas: 2 }, agent: { idleSeconds: 20 } })

/** How long a replica stands still, in milliseconds; its Lease runs out after a fifth of it, idle agents end after a third. */
const frozenMs = 60_000

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
  /** A session on that replica, or on another one. */
  const openOn = async (pod: string, isThere = true): Promise<Opened> => {
    for (let i = 0; i < 40; i++) {
      const session = await openSession()
      if (((await podOf(session)) === pod) === isThere) return session
      session.link.close()
    }
    throw new Error("the API server sends everything to the other replica")
  }
  const lockHolders = async () => {
    const path = `${group}/namespaces/${cluster.namespace}/targets/deployment.web/port-locks`
    const { items } = JSON.parse(await cluster.kubectl("get", "--raw", path))
    return items.map(({ session }: { session: string }) => session).sort()
  }
  const agents = async (): Promise<string[]> => {
    const { items } = await cluster.get("pods", "-n", installed.namespace, "-l", "app=mirrord")
    return items.map(({ metadata }: { metadata: { uid: string } }) => metadata.uid)
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

  /** Stops a replica; resolves when nobody is sent to it any more, with what lets it go on and what waits for its time. */
  const freeze = async (pod: string) => {
    const pid = operatorProcess(pod)
    const since = performance.now()
    process.kill(pid, "SIGSTOP")
    const wake = () => process.kill(pid, "SIGCONT")
    const minuteOver = () => Bun.sleep(frozenMs - (performance.now() - since))
    try {
      await cluster.eventually("the replica is out of service", async () => {
        const { status } = await cluster.get("pod", pod, "-n", installed.namespace)
        return status.conditions.some((one: { type: string; status: string }) => {
          return one.type === "Ready" && one.status === "False"
        })
      })
      return { wake, minuteOver }
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

  test("of one replica that stands still for a minute: others serve its sessions, and on waking it takes nothing back", async () => {
    if (skipElsewhere()) return
    const lost = await openSession()
    const pod = await podOf(lost)
    const [moved, ended, without] = [await openOn(pod), await openOn(pod), await openOn(pod)]
    const other = await openOn(pod, false)
    expect(await steal(lost, 7000)).toEqual({ kind: "Ok", value: 7000 })
    expect(await stealRequests(moved, 8080, "x-user: me")).toBe("Ok")
    const known = await agents()
    const { wake, minuteOver } = await freeze(pod)
    let back: Opened
    try {
      // Its client asks again: from here on this is what the death of a replica may take.
      const since = performance.now()
      back = await cluster.eventually("the session", () => openSession({ sessionId: moved.sessionId }))
      expect(await stealRequests(back, 8080, "x-user: me")).toBe("Ok")
      expect(performance.now() - since).toBeLessThan(5_000 * slack)
      expect(await getsRequest(back, 8080, ["x-user", "me"])).toBe(true)
      // Those of a client that stays away are free once the replica's Lease has run out.
      await cluster.eventually("the port", async () => (await steal(other, 7000)).kind === "Ok")
      expect(await getsTraffic(other, 7000)).toBe(true)
      await cluster.kubectl("delete", "--raw", `${group}/sessions/${ended.sessionId}?`)
      await minuteOver()
      expect(await answers(other)).toBe(true)
      expect(await lockHolders()).toEqual([other, back].map(({ sessionId }) => nameOf(sessionId)).sort())
    } finally {
      wake()
    }
    // The client whose port is gone has to come back and ask again, and nobody is served whose session was ended.
    expect((await ended.read.nextOf("Close")).value).toContain("ended by")
    await Promise.all([lost.link.ended, ended.link.ended])
    await expect(openSession({ sessionId: ended.sessionId })).rejects.toMatchObject({ status: 410 })
    for (const session of [without, moved, other, back]) expect(await answers(session)).toBe(true)
    for (let i = 0; i < 3; i++) expect(await getsTraffic(other, 7000)).toBe(true)
    for (let i = 0; i < 3; i++) expect(await getsRequest(back, 8080, ["x-user", "me"])).toBe(true)
    // The socket that is not used any more ends, and takes nothing with it.
    moved.link.close()
    expect(await getsRequest(back, 8080, ["x-user", "me"])).toBe(true)
    const again = await cluster.eventually("the session", () => openSession({ sessionId: lost.sessionId }))
    expect(await steal(again, 7000)).toEqual({ kind: "Err", value: { kind: "PortAlreadyStolen", value: 7000 } })
    expect(await steal(again, 7001)).toEqual({ kind: "Ok", value: 7001 })
    expect(await getsTraffic(other, 7000)).toBe(true)
    expect(await lockHolders()).toEqual([other, back, again].map(({ sessionId }) => nameOf(sessionId)).sort())
    expect(await agents()).toEqual(known)
    expect(await restarts()).toEqual([0, 0])
    for (const { link } of [again, back, other, without]) link.close()
  }, 240_000)

  test("of the API server: sessions are back with their ports when it is, and nothing was restarted", async () => {
    if (skipElsewhere()) return
    const sessions = [await openSession(), await openSession()]
    const [first] = sessions
    expect(await steal(first!, 7000)).toEqual({ kind: "Ok", value: 7000 })
    const known = await agents()
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
    expect(await agents()).toEqual(known)
    const { items } = await cluster.get("sessions")
    const names = items.map((item: { metadata: { name: string } }) => item.metadata.name)
    expect(names.sort()).toEqual(sessions.map(({ sessionId }) => nameOf(sessionId)).sort())
    expect(await restarts()).toEqual([0, 0])
  }, 240_000)
})
