import { beforeAll, describe, expect, test } from "bun:test"
import { join } from "node:path"
import { must } from "../cluster/run.ts"
import { deployment } from "../cluster/samples/workloads.ts"
import { useCluster } from "../cluster/use.ts"
import { newSessionId, operatorClient, reader } from "./operator/client.ts"
import { useOperator } from "./operator/install.ts"

const cluster = useCluster("operator")
const installed = useOperator(cluster, { agent: { idleSeconds: 5 } })

describe.skipIf(!cluster.available)("the operator", () => {
  let admin: ReturnType<typeof operatorClient>
  const namespace = () => cluster.namespace

  beforeAll(async () => {
    await cluster.apply(deployment("web", { replicas: 2 }))
    await cluster.ready("deployment/web")
    admin = operatorClient(cluster.kubeconfig)
  }, 120_000)

  const openSession = async (options: Partial<Parameters<typeof admin.connect>[0]> = {}) => {
    const link = await admin.connect({ namespace: namespace(), target: "deployment.web", ...options })
    return { link, read: reader(link) }
  }

  test("runs non-root, with a read-only root, without capabilities", async () => {
    const { items } = await cluster.get(
      "pods",
      "-n",
      installed.namespace,
      "-l",
      "app.kubernetes.io/name=podside-operator",
    )
    const [pod] = items
    expect(pod.spec.securityContext).toMatchObject({ runAsNonRoot: true, seccompProfile: { type: "RuntimeDefault" } })
    expect(pod.spec.containers[0].securityContext).toEqual({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ["ALL"] },
    })
    expect(pod.status.containerStatuses[0].ready).toBe(true)
  })

  test("its own certificates go with its Deployment; the users' CA, by which CI credentials stay good, does not", async () => {
    const ownersOf = async (name: string) => {
      const { metadata } = await cluster.get("secret", name, "-n", installed.namespace)
      return (metadata.ownerReferences ?? []).map(({ kind }: { kind: string }) => kind)
    }
    expect(await ownersOf("podside-operator-serving")).toEqual(["Deployment"])
    expect(await ownersOf("podside-operator-agents")).toEqual(["Deployment"])
    expect(await ownersOf("podside-operator-users")).toEqual([])
  })

  test("is reached by the API server with a verified certificate", async () => {
    const { spec } = await cluster.get("apiservice", "v1.operator.metalbear.co")
    expect(spec.insecureSkipTLSVerify).toBeFalsy()
    expect(Buffer.from(spec.caBundle, "base64").toString()).toContain("BEGIN CERTIFICATE")
  })

  test("is nobody's for who comes past the API server, whatever he states and whoever signed his certificate", async () => {
    const { items } = await cluster.get(
      ...["pods", "-n", installed.namespace, "-l", "app.kubernetes.io/name=podside-operator"],
    )
    const { tls } = await admin.kube.access()
    const headers = { "X-Remote-User": "admin", "X-Remote-Group": "system:masters" }
    const ask = async (path: string, own: object) => {
      const url = `https://${items[0].status.podIP}:8443${path}`
      return (await fetch(url, { headers, tls: { rejectUnauthorized: false, ...own } })).status
    }
    const path = "/apis/operator.metalbear.co/v1/mirrordoperators/operator"
    expect(await ask(path, {})).toBe(401)
    // The administrator's own certificate is of the cluster's CA, not of the one for the front proxy.
    expect(await ask(path, { cert: tls?.cert, key: tls?.key })).toBe(401)
    expect(await ask("/health", {})).toBe(200)
    expect(await cluster.kubectl("get", "--raw", path)).toContain("MirrordOperator")
  })

  test("kubectl reads its tables and explains its objects", async () => {
    const targets = await cluster.kubectl("get", "targets")
    expect(targets).toMatch(/NAME +KIND +TARGET/)
    expect(targets).toMatch(/deployment\.web +deployment +web/)
    expect(await cluster.kubectl("get", "target", "deployment.web", "-o", "jsonpath={.spec.target.deployment}")).toBe(
      "web",
    )
    expect(await cluster.kubectl("explain", "sessions.spec.session.user")).toContain("Local user, Kubernetes user")
    expect(await cluster.kubectl("get", "mirrordoperators")).toMatch(/operator +3\.250\.0 /)
  })

  test("the API server's own documents carry the operator's, and stay whole", async () => {
    await cluster.eventually("the schemas in the merged document", async () =>
      (await cluster.kubectl("get", "--raw", "/openapi/v2")).includes("co.metalbear.operator.v1.Session"),
    )
    // kubectl validates what it applies by that document.
    await cluster.apply({ apiVersion: "v1", kind: "ConfigMap", metadata: { name: "probe" } })
  })

  test.each([
    ["the plain route", { plainRoute: true }],
    ["the proxy route", {}],
    ["parameters in a header", { paramsInHeader: true }],
  ])(
    "a session reads environment and files of its target, by %s",
    async (_how, options) => {
      const { link, read } = await openSession(options)
      link.send({ kind: "SwitchProtocolVersion", value: "1.29.0" })
      expect(await read.next()).toEqual({ kind: "SwitchProtocolVersionResponse", value: "1.29.0" })
      link.send({ kind: "GetEnvVarsRequest", value: { envVarsFilter: [], envVarsSelect: ["SAMPLE_NAME"] } })
      const env = await read.nextOf("GetEnvVarsResponse")
      expect(env.value.kind === "Ok" && env.value.value.get("SAMPLE_NAME")).toBe("web")
      link.close()
      await link.ended
    },
    120_000,
  )

  test.each(["pod", "replicaset", "label", "service", "targetless"])(
    "a %s is a target",
    async (kind) => {
      const { items } = await cluster.get("pods", "-l", "app=web")
      const { name, ownerReferences } = items[0].metadata
      await cluster.apply({
        apiVersion: "v1",
        kind: "Service",
        metadata: { name: "front" },
        spec: { selector: { app: "web" }, ports: [{ port: 80, targetPort: 8080 }] },
      })
      const targets: Record<string, string> = {
        pod: `pod.${name}`,
        replicaset: `replicaset.${ownerReferences[0].name}`,
        service: "service.front",
      }
      const params: Record<string, string> =
        kind === "label" ? { label_target: JSON.stringify({ labels: { app: "web" } }) } : {}
      const { link, read } = await openSession({ target: targets[kind] ?? kind, params })
      link.send({ kind: "SwitchProtocolVersion", value: "1.29.0" })
      await read.next()
      link.send({ kind: "GetEnvVarsRequest", value: { envVarsFilter: [], envVarsSelect: ["HOSTNAME"] } })
      const { value } = await read.nextOf("GetEnvVarsResponse")
      const host = value.kind === "Ok" ? value.value.get("HOSTNAME") : undefined
      expect(host).toMatch(kind === "targetless" ? /^mirrord-agent-/ : /^web-/)
      link.close()
    },
    120_000,
  )

  test("several sockets share a session, a ping is answered at once, and a kill tells every socket why", async () => {
    const sessionId = newSessionId()
    const one = await openSession({ sessionId, params: { key: "tess" } })
    const two = await openSession({ sessionId, params: { key: "tess" } })
    two.link.send({ kind: "Ping" })
    expect(await two.read.next()).toEqual({ kind: "Pong" })
    const name = sessionId.toString(16).toUpperCase()
    const listed = await cluster.get("sessions")
    const session = listed.items.find((item: { metadata: { name: string } }) => item.metadata.name === name)
    expect(session.spec.session).toMatchObject({
      id: name,
      target: "deployment/web",
      key: "tess",
      namespace: namespace(),
    })
    expect(session.spec.session.user).toMatch(/^Tess Ter\/.+@test-desk$/)
    const answer = JSON.parse(
      await cluster.kubectl("delete", "--raw", `/apis/operator.metalbear.co/v1/sessions/${sessionId}?`),
    )
    expect(answer).toMatchObject({ kind: "Status", status: "Success" })
    expect(await one.read.next()).toMatchObject({ kind: "Close", value: expect.stringContaining("ended by") })
    expect(await two.read.next()).toMatchObject({ kind: "Close" })
    await expect(openSession({ sessionId })).rejects.toMatchObject({
      status: 410,
      body: { code: 410, reason: "ReconnectNotPossible" },
    })
  }, 120_000)

  test("stolen traffic of every pod arrives, whichever pod it was meant for", async () => {
    const { link, read } = await openSession()
    link.send({ kind: "SwitchProtocolVersion", value: "1.29.0" })
    await read.next()
    link.send({ kind: "TcpSteal", value: { kind: "PortSubscribe", value: { kind: "All", value: 7000 } } })
    const { value: subscribed } = await read.nextOf("TcpSteal")
    expect(subscribed).toEqual({ kind: "SubscribeResult", value: { kind: "Ok", value: 7000 } })
    const { items } = await cluster.get("pods", "-l", "app=web")
    const seen: string[] = []
    for (const pod of items) {
      const socket = await Bun.connect({ hostname: pod.status.podIP, port: 7000, socket: { data() {} } })
      socket.write("hello")
      const opened = await read.nextOf("TcpSteal")
      if (opened.value.kind !== "NewConnectionV2") throw new Error(`unexpected ${opened.value.kind}`)
      const { connectionId, localAddress } = opened.value.value.connection
      expect(connectionId).toBe(BigInt(seen.length))
      seen.push(localAddress)
      const data = await read.nextOf("TcpSteal")
      expect(data.value).toMatchObject({ kind: "Data", value: { connectionId } })
      socket.end()
      const end = await read.nextOf("TcpSteal")
      expect(end.value).toMatchObject({ value: { connectionId } })
      link.send({ kind: "TcpSteal", value: { kind: "ConnectionUnsubscribe", value: connectionId } })
    }
    expect(seen.sort()).toEqual(items.map((pod: { status: { podIP: string } }) => pod.status.podIP).sort())
    link.close()
  }, 120_000)

  test("stealing a port that is stolen is refused, unless the user overrides", async () => {
    const steal = async (params: Record<string, string>) => {
      const { link, read } = await openSession({ params })
      link.send({ kind: "SwitchProtocolVersion", value: "1.29.0" })
      await read.next()
      link.send({ kind: "TcpSteal", value: { kind: "PortSubscribe", value: { kind: "All", value: 8080 } } })
      const { value } = await read.nextOf("TcpSteal")
      return { link, read, result: value.kind === "SubscribeResult" ? value.value : undefined }
    }
    const first = await steal({})
    expect(first.result).toEqual({ kind: "Ok", value: 8080 })
    const locks = JSON.parse(
      await cluster.kubectl(
        "get",
        "--raw",
        `/apis/operator.metalbear.co/v1/namespaces/${namespace()}/targets/deployment.web/port-locks`,
      ),
    )
    expect(locks.items).toMatchObject([{ port: 8080, kind: "steal" }])
    const second = await steal({})
    expect(second.result).toEqual({ kind: "Err", value: { kind: "PortAlreadyStolen", value: 8080 } })
    const third = await steal({ on_concurrent_steal: "override" })
    expect(third.result).toEqual({ kind: "Ok", value: 8080 })
    expect((await first.read.nextOf("Close")).value).toContain("took port 8080 over")
    second.link.close()
    third.link.close()
  }, 120_000)

  test("diagnose latency: the ping socket answers pings", async () => {
    const link = await admin.ping()
    const read = reader(link)
    for (let i = 0; i < 3; i++) {
      link.send({ kind: "Ping" })
      expect(await read.next()).toEqual({ kind: "Pong" })
    }
    link.close()
  })

  test("a session leaves one audit line and one Event each for its start and its end", async () => {
    const sessionId = newSessionId()
    const { link, read } = await openSession({ sessionId })
    link.send({ kind: "TcpSteal", value: { kind: "PortSubscribe", value: { kind: "All", value: 7000 } } })
    expect((await read.nextOf("TcpSteal")).value).toMatchObject({ kind: "SubscribeResult", value: { kind: "Ok" } })
    await cluster.eventually("the port is written down", async () => {
      const lease = await cluster.get("lease", `podside-session-${sessionId.toString(16)}`, "-n", installed.namespace)
      return JSON.parse(lease.metadata.annotations["podside.dev/session"]).ports?.steal.length === 1
    })
    await cluster.kubectl("delete", "--raw", `/apis/operator.metalbear.co/v1/sessions/${sessionId}?`)
    await link.ended
    const name = sessionId.toString(16).toUpperCase()
    const kinds = await cluster.eventually("both Events", async () => {
      const { items } = await cluster.get("events")
      const own = items.filter((event: { message: string }) => event.message.includes(name))
      return own.length === 2 ? own.map((event: { reason: string }) => event.reason).sort() : undefined
    })
    expect(kinds).toEqual(["SessionKilled", "SessionStarted"])
    const described = await cluster.kubectl("describe", "deployment", "web")
    for (const kind of kinds) expect(described).toMatch(new RegExp(`${kind} .* session ${name}`))
    const lines = (await installed.logs()).split("\n").filter((line) => line.includes('"audit"') && line.includes(name))
    expect(lines.map((line) => JSON.parse(line).kind)).toEqual(["session-started", "session-killed"])
    expect(JSON.parse(lines[1]!)).toMatchObject({ mode: "steal", ports: [7000], target: "deployment/web" })
  }, 120_000)

  test.each([
    ["no certificate", { certificate: "" }, 401],
    ["a certificate that is not ours", { certificate: "bm9uc2Vuc2U=" }, 401],
    ["no session id", { headers: { "x-session-id": "" } }, 400],
    ["a session id that is no number", { headers: { "x-session-id": "1e3" } }, 400],
    ["a target that does not exist", { target: "deployment.nothing" }, 404],
    ["a kind that does not exist", { target: "gadget.web" }, 400],
    ["a container that does not exist", { target: "deployment.web.container.nope" }, 404],
    ["a parameter that cannot be read", { params: { on_concurrent_steal: "perhaps" } }, 400],
    ["a feature that is not there", { params: { sqs_splits: "{}" } }, 403],
    ["a wrong subprotocol", { subprotocol: "v5.channel.k8s.io" }, 400],
    ["parameters longer than the limit", { paramsInHeader: false, params: { key: "k".repeat(2000) } }, 400],
  ] as const)("a connect with %s is refused with a complete Status", async (_what, options, code) => {
    await expect(openSession(options as object)).rejects.toMatchObject({
      status: code,
      body: { kind: "Status", apiVersion: "v1", code, message: expect.any(String) },
    })
  })

  test("garbage behind the upgrade ends that socket and nothing else", async () => {
    const good = await openSession()
    const bad = await openSession()
    bad.link.send({ kind: "Vpn", value: { kind: "OpenSocket" } })
    expect(await bad.read.next()).toMatchObject({ kind: "Close" })
    good.link.send({ kind: "Ping" })
    expect(await good.read.next()).toEqual({ kind: "Pong" })
    good.link.close()
  }, 120_000)

  const podside = (...args: string[]) =>
    must([process.execPath, join(import.meta.dir, "../../core/main.ts"), ...args], {
      env: { KUBECONFIG: cluster.kubeconfig },
      timeoutSeconds: 60,
    })

  test("podside itself works through it", async () => {
    const status = await podside("operator", "status")
    expect(status).toMatch(/^Operator version: 3\.250\.0 \(podside \d+\.\d+\.\d+\)$/m)
    const out = await podside("exec", "--target", "deployment/web", "-n", namespace(), "--", "printenv", "SAMPLE_NAME")
    expect(out.trim()).toBe("web")
    expect((await installed.logs()).includes('"kind":"session-started"')).toBe(true)
  }, 120_000)

  test("agents leave when nobody uses them", async () => {
    await cluster.kubectl("delete", "--raw", "/apis/operator.metalbear.co/v1/sessions?")
    await cluster.eventually(
      "no agents",
      async () => (await cluster.get("pods", "-n", installed.namespace, "-l", "app=mirrord")).items.length === 0,
      { timeoutSeconds: 120 },
    )
  }, 150_000)
})
