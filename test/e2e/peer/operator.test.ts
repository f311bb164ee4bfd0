import { beforeAll, describe, expect, test } from "bun:test"
import { deployment } from "../../cluster/samples/workloads.ts"
import { type ClusterUser, useCluster } from "../../cluster/use.ts"
import { useOperator } from "../operator/install.ts"
import { answerAll } from "./answer-all.ts"
import { InternalProxy } from "./internal-proxy.ts"
import { ApiError, type CliOptions, mirrordCli, NoOperator, newSessionId } from "./mirrord-cli.ts"

/* The whole way of a mirrord 3.250 client through the operator, by a stand-in that forgives nothing the real one would not. */

const cluster = useCluster("peer")
useOperator(cluster, { agent: { idleSeconds: 5 } })

const group = "rbac.authorization.k8s.io"
const rbac = (kind: string, name: string, more: object) => ({
  apiVersion: `${group}/v1`,
  kind,
  metadata: { name },
  ...more,
})

describe.skipIf(!cluster.available)("a mirrord 3.250 client", () => {
  let ann: ClusterUser
  let stranger: ClusterUser
  let cli: ReturnType<typeof mirrordCli>
  const newCli = (options?: CliOptions) => mirrordCli(ann.kubeconfig, options)
  const exec = (params: Record<string, string> = {}, from = cli) =>
    from.exec({ namespace: cluster.namespace, deployment: "web", params })

  beforeAll(async () => {
    await cluster.apply([
      deployment("web"),
      {
        apiVersion: "v1",
        kind: "Service",
        metadata: { name: "web" },
        spec: { selector: { app: "web" }, ports: [{ port: 80, targetPort: 8080 }] },
      },
    ])
    await cluster.ready("deployment/web")
    ann = await cluster.user("ann-peer")
    stranger = await cluster.user("stranger-peer")
    const subjects = [{ kind: "User", name: "ann-peer", apiGroup: group }]
    await cluster.apply([
      rbac("ClusterRoleBinding", `${cluster.namespace}-ann`, {
        subjects,
        roleRef: { kind: "ClusterRole", name: "mirrord-operator-user", apiGroup: group },
      }),
      rbac("RoleBinding", "ann", { subjects, roleRef: { kind: "ClusterRole", name: "view", apiGroup: group } }),
    ])
    cli = newCli()
    await cluster.eventually("ann may use the operator", () => cli.operator().then(() => true))
  }, 120_000)

  test("exec: environment, a file, a name, a connection, stolen traffic", async () => {
    const { version, agreed, environment, proxy } = await exec()
    expect([version, agreed]).toEqual(["1.29.0", "1.29.0"])
    expect(environment.get("SAMPLE_NAME")).toBe("web")

    const openOptions = { read: true, write: false, append: false, truncate: false, create: false, createNew: false }
    const opened = await proxy.file({ kind: "Open", value: { path: "/etc/hostname", openOptions } })
    if (opened.kind !== "Open" || opened.value.kind !== "Ok") throw new Error(JSON.stringify(opened))
    const { fd } = opened.value.value
    const stat = await proxy.file({ kind: "Xstat", value: { path: null, fd, followSymlink: true } })
    expect(stat.value.kind).toBe("Ok")
    const content = await proxy.file({
      kind: "ReadLimited",
      value: { remoteFd: fd, bufferSize: 128_000n, startFrom: 0n },
    })
    if (content.kind !== "ReadLimited" || content.value.kind !== "Ok") throw new Error("no content")
    expect(new TextDecoder().decode(content.value.value.bytes)).toMatch(/^web-/)
    proxy.closeFile(fd)
    const missing = await proxy.file({ kind: "Open", value: { path: "/nothing", openOptions } })
    expect(missing.value).toMatchObject({ kind: "Err", value: { kind: "RemoteIO", value: { rawOsError: 2 } } })

    const names = await proxy.resolve("web")
    if (names.kind !== "Ok") throw new Error("web was not resolved")
    const ip = names.value[0]!.ip
    const { connect } = await proxy.connect(ip, 80)
    if (connect.kind !== "Ok") throw new Error(JSON.stringify(connect.value))
    const id = connect.value.connectionId
    proxy.write(id, "GET / HTTP/1.0\r\n\r\n")
    const reply = await proxy.nextOutgoing()
    if (reply.kind !== "Read" || reply.value.kind !== "Ok") throw new Error(JSON.stringify(reply))
    expect(new TextDecoder().decode(reply.value.value.bytes)).toStartWith("HTTP/1.0 200")

    expect(await proxy.steal(8080)).toEqual({ kind: "Ok", value: 8080 })
    await answerStolen(proxy)
    expect(proxy.operatorPings.length).toBeGreaterThan(0)
    proxy.close()
    expect(await proxy.failure).toMatch(/opcode 8|lost/)
  }, 120_000)

  /** One request to the target, answered by the client. */
  const answerStolen = async (proxy: InternalProxy) => {
    const forwarded = await cluster.forward("service/web", 80)
    await using _ = forwarded
    answerAll(proxy)
    // A connection made while rules change, or by a busy forwarder, may be lost.
    const text = await cluster.eventually("an answer to what was stolen", async () => {
      const signal = AbortSignal.timeout(5_000)
      return (await fetch(`http://127.0.0.1:${forwarded.port}/`, { signal, headers: { "x-user": "tess" } })).text()
    })
    expect(text).toBe("from the client")
  }

  test("routes and parameters for an operator without the newer features", async () => {
    const { version, proxy } = await cli.exec({ namespace: cluster.namespace, deployment: "web", features: [] })
    expect(version).toBe("1.29.0")
    proxy.close()
  }, 120_000)

  test("container mode: no version before the environment, several proxies of one session", async () => {
    const { environment, external, inner } = await cli.container({
      namespace: cluster.namespace,
      target: "deployment.web",
    })
    expect(environment.get("SAMPLE_NAME")).toBe("web")
    expect((await inner.resolve("web")).kind).toBe("Ok")
    await external.ping()
    for (const proxy of [external, inner]) proxy.close()
  }, 120_000)

  test("certificates in both older forms are accepted, and tie sessions to their key", async () => {
    const old = newCli({ legacyCredentials: true })
    const { proxy, to } = await exec({}, old)
    const mine = (await old.sessions()).find(({ id }) => id === to.sessionId.toString(16).toUpperCase())
    expect(mine?.user_id).toBe(old.userId)
    proxy.close()
    const csr = await old.credential("ci")
    expect(csr).toContain("BEGIN CERTIFICATE")
  }, 120_000)

  test("ls, targets and operator status", async () => {
    expect(await cli.ls(cluster.namespace)).toEqual(
      expect.arrayContaining(["deployment/web", "service/web", expect.stringMatching(/^pod\/web-/)]),
    )
    const listed = await cli.targets(cluster.namespace)
    expect(listed.map(({ spec }) => spec.target)).toContainEqual({ deployment: "web", container: null })
    const status = await cli.operatorStatus()
    expect(status.operator_version).toBe("3.250.0")
    expect(status.protocol_version).toBe("1.29.0")
    expect(status.sessions).toBeArray()
  }, 120_000)

  test("sessions are listed by namespace and key, and stopped by either id", async () => {
    const key = "a=b,c\\d"
    const one = await exec({ key, header_filter: "x-user: tess" }, newCli({ name: "Ter, Tess" }))
    const two = await exec({ key: "other" })
    const [listed, ...more] = await cli.sessions({ namespace: cluster.namespace, key })
    expect(more).toEqual([])
    const hex = one.to.sessionId.toString(16).toUpperCase()
    expect(listed).toMatchObject({
      id: hex,
      key,
      target: "deployment/web",
      namespace: cluster.namespace,
      user: "Ter, Tess/ann-peer@test-desk",
      http_filter: { headerFilter: "x-user: tess" },
    })
    expect(await cli.sessions({ namespace: "elsewhere", key })).toEqual([])
    expect((await cli.stopSession(hex)).status).toBe("Success")
    expect(await one.proxy.failure).toContain("closed: ")
    await expect(cli.stopSession(hex)).rejects.toMatchObject({ status: { code: 404, reason: "NotFound" } })
    expect((await cli.retainActive()).status).toBe("Success")
    await two.proxy.ping()
    expect((await cli.operatorStopSession(two.to.sessionId.toString(16))).status).toBe("Success")
    expect(await two.proxy.failure).toContain("closed: ")
  }, 120_000)

  test("all sessions are stopped at once", async () => {
    const one = await exec()
    expect((await cli.stopAll()).status).toBe("Success")
    expect(await one.proxy.failure).toContain("closed: ")
  }, 120_000)

  test("diagnose latency", async () => {
    const times = await cli.diagnoseLatency(100)
    expect(times).toHaveLength(100)
  }, 120_000)

  test.each([
    ["lost", "a port", undefined],
    ["lost", "requests", "x-user: tess"],
    ["still there for the operator", "a port", undefined],
    ["still there for the operator", "requests", "x-user: tess"],
    ["there without being read", "a port", undefined],
    ["there without being read", "requests", "x-user: tess"],
  ])(
    "a client comes back while its last socket is %s, and steals %s as before",
    async (how, _what, filter) => {
      const { to, agreed, proxy } = await exec()
      expect(await proxy.steal(8080, filter)).toEqual({ kind: "Ok", value: 8080 })
      if (how === "lost") proxy.drop()
      if (how === "there without being read") proxy.stall()
      const next = await cli.reconnect(to, agreed)
      expect(next.agreed).toBe(agreed)
      expect(await next.proxy.steal(8080, filter)).toEqual({ kind: "Ok", value: 8080 })
      await answerStolen(next.proxy)
      if (how !== "lost") {
        proxy.drop()
        await next.proxy.ping()
      }
      // The port is still the session's, although the socket that took it first is gone.
      const other = await exec()
      expect(await other.proxy.steal(8080)).toEqual({ kind: "Err", value: { kind: "PortAlreadyStolen", value: 8080 } })
      await answerStolen(next.proxy)
      for (const one of [other, next]) one.proxy.close()
    },
    120_000,
  )

  test("a pod and the workload it belongs to cannot be stolen from at once; another port can", async () => {
    const { items } = await cluster.get("pods", "-l", "app=web")
    const { proxy } = await exec()
    expect(await proxy.steal(8080)).toEqual({ kind: "Ok", value: 8080 })
    const ofPod = new InternalProxy(await connect(`pod.${items[0].metadata.name}`))
    await ofPod.start()
    expect(await ofPod.steal(8080)).toEqual({ kind: "Err", value: { kind: "PortAlreadyStolen", value: 8080 } })
    expect(await ofPod.steal(7000)).toEqual({ kind: "Ok", value: 7000 })
    expect(await proxy.steal(7000)).toEqual({ kind: "Err", value: { kind: "PortAlreadyStolen", value: 7000 } })
    proxy.close()
    await cluster.eventually("the port", async () => (await ofPod.steal(8080)).kind === "Ok")
    ofPod.close()
  }, 120_000)

  test("a closed session is answered so that its client stops trying, another's is refused", async () => {
    const { to, agreed, proxy } = await exec()
    const other = newCli()
    await other.prepared()
    await expect(other.connect(to)).rejects.toMatchObject({ status: { code: 403, reason: "Forbidden" } })
    await proxy.ping()
    await cli.operatorStopSession(to.sessionId.toString(16))
    await proxy.failure
    await expect(cli.reconnect(to, agreed)).rejects.toMatchObject({
      status: { code: 410, reason: "ReconnectNotPossible" },
    })
  }, 120_000)

  test("who may not use the operator is told so, and does not go on without it", async () => {
    const refused = await mirrordCli(stranger.kubeconfig)
      .operator()
      .catch((error) => error)
    expect(refused).toBeInstanceOf(NoOperator)
    expect(refused.installed).toBe(true)
    expect(refused.message).toContain("403 Forbidden")
  }, 120_000)

  const connect = (target: string, params: Record<string, string> = {}) =>
    cli.connect({ namespace: cluster.namespace, target, params, sessionId: newSessionId() })

  test("what a client asks for although nobody offered it is refused in words", async () => {
    await cli.prepared()
    const refusal = async (asked: Promise<unknown>) => {
      const error = await asked.catch((thrown) => thrown)
      expect(error).toBeInstanceOf(ApiError)
      return (error as ApiError).status
    }
    const splits = { azure_service_bus_splits: '{"q":{"a":"b"}}' }
    expect(await refusal(connect("deployment.web", splits))).toMatchObject({ code: 403 })
    expect(await refusal(connect("deployment.web", { branch_db_names: '["a"]' }))).toMatchObject({ code: 403 })
    expect(await refusal(connect("deployment.nothing"))).toMatchObject({ code: 404, reason: "NotFound" })
    const subscribed = await cli.request("GET", "/apis/operator.metalbear.co/v1/events?watch=true&session_key=k")
    expect(JSON.parse(subscribed.text)).toMatchObject({ code: 404, message: expect.stringContaining("subscribe") })
    // Jobs and empty deployments make a client copy, whatever the operator says it supports.
    const copies = `/apis/operator.metalbear.co/v1/namespaces/${cluster.namespace}/copytargets`
    const listed = await cli.request("GET", copies)
    expect(JSON.parse(listed.text)).toMatchObject({ items: [] })
    const body = JSON.stringify({
      metadata: { name: "job.once" },
      spec: { target: { job: "once" }, idle_ttl: 30, scale_down: false },
    })
    const made = await cli.request("POST", `${copies}?`, body, [["content-type", "application/json"]])
    expect(JSON.parse(made.text)).toMatchObject({ kind: "Status", code: 403, message: expect.stringContaining("cop") })
  }, 120_000)

  test.each([
    ["a container", "deployment.web.container.web", {}],
    ["a pod", "pod.NAME", {}],
    ["a replica set", "replicaset.OWNER", {}],
    ["a service", "service.web", {}],
    ["labels", "label", { label_target: '{"labels":{"app":"web"}}' }],
    ["nothing at all", "targetless", {}],
  ])(
    "the URL name of %s",
    async (_what, name, params) => {
      await cli.prepared()
      const { items } = await cluster.get("pods", "-l", "app=web")
      const { metadata } = items[0]
      const target = name.replace("NAME", metadata.name).replace("OWNER", metadata.ownerReferences[0].name)
      const socket = await connect(target, params)
      socket.send({ kind: "SwitchProtocolVersion", value: "1.29.0" })
      expect(await socket.next()).toEqual({ kind: "SwitchProtocolVersionResponse", value: "1.29.0" })
      socket.send({ kind: "FileRequest", value: { kind: "Access", value: { pathname: "/etc/hostname", mode: 4 } } })
      expect(await socket.next()).toMatchObject({ kind: "File", value: { kind: "Access", value: { kind: "Ok" } } })
      socket.close()
    },
    120_000,
  )

  test("parameters of 100 KiB and a client of many groups", async () => {
    const groups = Array.from({ length: 400 }, (_, i) => `team-${i}-of-a-company-with-long-names`)
    const member = await cluster.user("ann-peer", groups)
    const many = mirrordCli(member.kubeconfig)
    await many.prepared()
    const up_session_info = '{"autoQueueSplitting":true}'
    const kafka_splits = JSON.stringify({ queue: { header: "x".repeat(100 * 1024) } })
    const to = { namespace: cluster.namespace, target: "deployment.web", params: { up_session_info, kafka_splits } }
    const socket = await many.connect(to)
    socket.send({ kind: "Ping" })
    expect(await socket.next()).toEqual({ kind: "Pong" })
    socket.close()
  }, 120_000)

  test("mirrord up: queues split on its own initiative are left out, and the session stands", async () => {
    await cli.prepared()
    const params = {
      kafka_splits: '{"q":{"h":"v"}}',
      queue_modes: '{"q":"mirror"}',
      up_session_info: '{"autoQueueSplitting":true}',
    }
    const socket = await connect("deployment.web", params)
    socket.send({ kind: "Ping" })
    expect(await socket.next()).toEqual({ kind: "Pong" })
    socket.close()
  }, 120_000)
})
