import { afterEach, beforeAll, describe, expect, test } from "bun:test"
import { deployment } from "../cluster/samples/workloads.ts"
import { useCluster } from "../cluster/use.ts"
import { group, newSessionId, operatorClient, reader } from "./operator/client.ts"
import { useOperator } from "./operator/install.ts"

/* What kubectl and controllers see of sessions as they come and go, on whichever replica. */

const cluster = useCluster("watch")
const installed = useOperator(cluster, { operator: { replicas: 2 }, agent: { idleSeconds: 10 } })

/** The API server sends each request to either replica: that so many all meet the same one is one in thousands. */
const manyTries = 12

describe.skipIf(!cluster.available)("sessions of two replicas, watched", () => {
  let admin: ReturnType<typeof operatorClient>
  const undo: (() => unknown)[] = []
  beforeAll(async () => {
    await cluster.apply(deployment("web"))
    await cluster.ready("deployment/web")
    admin = operatorClient(cluster.kubeconfig)
  }, 120_000)
  afterEach(async () => {
    for (const step of undo.splice(0)) await step()
    await cluster.kubectl("delete", "--raw", `${group}/sessions?`)
  })

  const nameOf = (sessionId: bigint) => sessionId.toString(16).toUpperCase()
  const openSession = async (sessionId = newSessionId(), params: Record<string, string> = {}) => {
    const link = await admin.connect({ namespace: cluster.namespace, target: "deployment.web", sessionId, params })
    undo.push(() => link.close())
    const read = reader(link)
    link.send({ kind: "SwitchProtocolVersion", value: "1.29.0" })
    await read.nextOf("SwitchProtocolVersionResponse")
    return { name: nameOf(sessionId), link, read }
  }
  const steal = async ({ link, read }: Awaited<ReturnType<typeof openSession>>, port: number) => {
    link.send({ kind: "TcpSteal", value: { kind: "PortSubscribe", value: { kind: "All", value: port } } })
    expect((await read.nextOf("TcpSteal")).value).toMatchObject({ value: { kind: "Ok" } })
  }
  /** What `kubectl get … --watch` has printed so far. */
  const kubectlWatch = (...args: string[]) => {
    const command = ["kubectl", "get", "sessions", "--watch", "--output-watch-events", "-n", cluster.namespace, ...args]
    const env = { ...process.env, KUBECONFIG: cluster.kubeconfig }
    const child = Bun.spawn(command, { stdout: "pipe", stderr: "pipe", env })
    let printed = ""
    const reading = (async () => {
      const decoder = new TextDecoder()
      for await (const chunk of child.stdout) printed += decoder.decode(chunk, { stream: true })
    })()
    undo.push(async () => {
      child.kill()
      await Promise.all([child.exited, reading])
    })
    return { printed: () => printed, ended: child.exited }
  }

  test("kubectl prints a session as it begins, steals a port and ends, and only where it looks", async () => {
    const before = await openSession()
    const here = kubectlWatch()
    await cluster.eventually("the list", async () => here.printed().includes(before.name))
    const elsewhere = kubectlWatch("-n", "kube-system")
    const byKey = kubectlWatch("--field-selector", "spec.session.key=mine")
    const session = await openSession(newSessionId(), { key: "mine" })
    await steal(session, 7000)
    await cluster.kubectl("delete", "session", session.name)
    const line = (event: string, more = "") => new RegExp(`^${event} +${session.name} +deployment/web .*${more}`, "m")
    for (const { printed } of [here, byKey]) {
      await cluster.eventually("its end", async () => line("DELETED").test(printed()))
      expect(printed()).toMatch(line("ADDED"))
      expect(printed().match(/^EVENT +NAME/gm)).toHaveLength(1)
    }
    expect(here.printed()).toMatch(line("MODIFIED", "@test-desk +7000 "))
    expect(here.printed()).toMatch(new RegExp(`^ADDED +${before.name}`, "m"))
    expect(here.printed()).not.toMatch(new RegExp(`^DELETED +${before.name}`, "m"))
    expect(byKey.printed()).not.toContain(before.name)
    expect(elsewhere.printed()).not.toContain(session.name)
  }, 120_000)

  test("a session and its record are two objects: Kubernetes' garbage collector knows them by uid alone", async () => {
    const { name } = await openSession()
    const uidOf = async (...of: string[]) => await cluster.kubectl("get", ...of, "-o", "jsonpath={.metadata.uid}")
    const record = await uidOf("lease", `podside-session-${name.toLowerCase()}`, "-n", installed.namespace)
    const uids = await Promise.all(Array.from({ length: manyTries }, () => uidOf("session", name)))
    expect(new Set(uids).size).toBe(1)
    expect(uids[0]).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$/)
    expect(uids[0]).not.toBe(record)
  }, 60_000)

  test("whichever replica is asked, and whichever a session came to: all is told, in one order, and goes on elsewhere", async () => {
    const stop = new AbortController()
    undo.push(() => stop.abort())
    const { metadata } = await admin.kube.request<{ metadata: { resourceVersion: string } }>("GET", `${group}/sessions`)
    const watch = async (resourceVersion: string, count: number) => {
      const found: string[] = []
      let latest = resourceVersion
      for await (const { type, object } of admin.kube.watch<{
        metadata: { name: string; resourceVersion: string }
      }>(`${group}/sessions`, { query: { resourceVersion }, signal: stop.signal })) {
        found.push(`${type} ${object.metadata.name}`)
        latest = object.metadata.resourceVersion
        if (found.length === count) break
      }
      return { found, latest }
    }
    const watching = Array.from({ length: manyTries }, () => watch(metadata.resourceVersion, 4))
    const sessions = [await openSession(), await openSession()]
    for (const { name } of sessions) await cluster.kubectl("delete", "session", name)
    const told = await Promise.all(watching)
    const [one, two] = sessions.map(({ name }) => name)
    for (const { found } of told)
      expect(found).toEqual([`ADDED ${one}`, `ADDED ${two}`, `DELETED ${one}`, `DELETED ${two}`])
    // The same versions, too: who comes back to another replica misses nothing and is told nothing twice.
    expect(new Set(told.map(({ latest }) => latest)).size).toBe(1)
    const going = Array.from({ length: manyTries }, () => watch(told[0]!.latest, 1))
    const { name } = await openSession()
    for (const { found } of await Promise.all(going)) expect(found).toEqual([`ADDED ${name}`])
  }, 120_000)

  test("a hundred and more watches at once are in nobody's way; what is too much for one user is refused", async () => {
    const stop = new AbortController()
    undo.push(() => stop.abort())
    const seen = { begun: 0, refused: 0, ended: 0 }
    const watches = Array.from({ length: 110 }, async () => {
      try {
        const query = { allowWatchBookmarks: true, sendInitialEvents: true, resourceVersionMatch: "NotOlderThan" }
        for await (const { type } of admin.kube.watch(`${group}/sessions`, { query, signal: stop.signal })) {
          if (type === "BOOKMARK") seen.begun++
          if (type === "DELETED") seen.ended++
        }
      } catch (thrown) {
        if ((thrown as { status?: number }).status === 429) seen.refused++
      }
    })
    await cluster.eventually("all watches", async () => seen.begun + seen.refused === watches.length)
    // 50 for each of the two replicas.
    expect(seen.begun).toBeGreaterThanOrEqual(50)
    expect(seen.begun).toBeLessThanOrEqual(100)
    const { name } = await openSession()
    await cluster.kubectl("delete", "session", name)
    await cluster.eventually("all are told", async () => seen.ended === seen.begun)
    stop.abort()
    await Promise.all(watches)
    await cluster.eventually("room for the next", async () => kubectlCanWatch())
  }, 120_000)
  const kubectlCanWatch = async () => {
    const path = `${group}/sessions?watch=true&timeoutSeconds=1`
    return (await cluster.tryKubectl("get", "--raw", path)).code === 0
  }

  test("a watch whose replica is replaced ends as an answer ends, and the next one goes on", async () => {
    const { name } = await openSession()
    const { printed, ended } = kubectlWatch()
    await cluster.eventually("the list", async () => printed().includes(name))
    await cluster.kubectl("rollout", "restart", "deployment/podside-operator", "-n", installed.namespace)
    expect(await ended).toBe(0)
    expect(printed()).not.toContain("Failure")
    await cluster.kubectl("rollout", "status", "deployment/podside-operator", "-n", installed.namespace)
    const next = kubectlWatch()
    const session = await openSession()
    await cluster.eventually("the next", async () => next.printed().includes(session.name))
  }, 120_000)

  test("what cannot be watched says so, and discovery names nothing else", async () => {
    const targets = await cluster.tryKubectl("get", "targets", "--watch")
    expect([targets.code, targets.stdout]).toEqual([1, expect.stringContaining("deployment.web")])
    expect(targets.stderr).toContain("watch is not supported on resources of kind")
    const watchable = await cluster.kubectl(
      ...["api-resources", "--api-group=operator.metalbear.co", "--verbs=watch", "-o", "name"],
    )
    expect(watchable.trim()).toBe("sessions.operator.metalbear.co")
  })

  test("selectors choose, in lists and in what is deleted", async () => {
    const { name } = await openSession()
    const names = async (...args: string[]) =>
      (await cluster.kubectl("get", ...args, "-o", "name")).split("\n").filter(Boolean)
    expect(await names("sessions", "-l", "app=web")).toEqual([])
    expect(await names("sessions", "-l", "app!=web")).toEqual([`session.operator.metalbear.co/${name}`])
    await cluster.kubectl("delete", "sessions", "-l", "app=web")
    expect(await names("sessions")).toHaveLength(1)
    const web = "target.operator.metalbear.co/deployment.web"
    expect(await names("targets", "-l", "app=web")).toContain(web)
    expect(await names("targets", "-l", "app=other")).toEqual([])
    expect(await names("targets", "--field-selector", "metadata.name=deployment.web")).toEqual([web])
    await cluster.kubectl("delete", "sessions", "--all")
    expect(await names("sessions")).toEqual([])
    await cluster.kubectl("wait", "--for=delete", `session/${name}`, "--timeout=5s")
  }, 60_000)
})
