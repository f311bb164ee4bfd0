import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { createSecureServer, type Http2SecureServer } from "node:http2"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { TLSSocket } from "node:tls"
import { must } from "./run.ts"
import { deployment, pod, service } from "./samples/workloads.ts"
import { useCluster } from "./use.ts"

const cluster = useCluster("access")

describe.skipIf(!cluster.available)("users", () => {
  const grant = (verbs: string[], subject: object) => [
    {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "Role",
      metadata: { name: "reader" },
      rules: [{ apiGroups: [""], resources: ["pods"], verbs }],
    },
    {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "RoleBinding",
      metadata: { name: "reader" },
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name: "reader" },
      subjects: [subject],
    },
  ]

  test("a certificate carries name and groups", async () => {
    const jim = await cluster.user("jim", ["dev", "ops"])
    const { userInfo } = JSON.parse(await jim.kubectl("auth", "whoami", "-o", "json")).status
    expect(userInfo.username).toBe("jim")
    expect(userInfo.groups).toEqual(expect.arrayContaining(["dev", "ops", "system:authenticated"]))
  })

  test("RBAC denies a stranger and allows the group it was told", async () => {
    const [jim, sally] = [await cluster.user("jim", ["dev"]), await cluster.user("sally", ["sales"])]
    const group = { apiGroup: "rbac.authorization.k8s.io", kind: "Group", name: "dev" }
    await cluster.apply(grant(["get", "list"], group))
    await cluster.eventually("jim may", async () => (await jim.tryKubectl("get", "pods")).code === 0)
    expect((await jim.tryKubectl("delete", "pod", "any")).stderr).toContain("Forbidden")
    const denied = await sally.tryKubectl("get", "pods")
    expect(denied.code).not.toBe(0)
    expect(denied.stderr).toContain('User "sally" cannot list resource "pods"')
  })

  test("a service account's token is its identity", async () => {
    const robot = await cluster.serviceAccount("robot")
    const { userInfo } = JSON.parse(await robot.kubectl("auth", "whoami", "-o", "json")).status
    expect(userInfo.username).toBe(`system:serviceaccount:${cluster.namespace}:robot`)
    expect((await robot.tryKubectl("get", "secrets")).stderr).toContain("Forbidden")
  })

  test("a name that cannot stand in a certificate is refused", async () => {
    expect(cluster.user("a/b")).rejects.toMatchObject({ code: "bad-user" })
  })
})

describe.skipIf(!cluster.available)("an aggregated API", () => {
  const group = `sample-${crypto.randomUUID().slice(0, 8)}.podside.test`
  const folder = mkdtempSync(join(tmpdir(), "podside-api-"))
  let server: Http2SecureServer | undefined

  beforeAll(async () => {
    if (!cluster.own) return console.error("SKIPPED: the API sample runs here, where only a cluster of ours reaches it")
    const host = `sample.${cluster.namespace}.svc`
    const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    const subject = ["-subj", `/CN=${host}`, "-addext", `subjectAltName=DNS:${host}`]
    await must(["openssl", "req", "-x509", ...curve, ...subject, "-keyout", "key", "-out", "crt"], { cwd: folder })
    const authority = (await cluster.get("configmap", "extension-apiserver-authentication", "-n", "kube-system")).data
    server = createSecureServer({
      key: readFileSync(join(folder, "key")),
      cert: readFileSync(join(folder, "crt")),
      ca: authority["requestheader-client-ca-file"],
      requestCert: true,
      rejectUnauthorized: false,
      allowHTTP1: true,
    })
    server.on("request", (request, response) => {
      const socket = (request.stream?.session?.socket ?? request.socket) as TLSSocket
      const proven = socket.authorized && socket.getPeerCertificate().subject.CN === "front-proxy-client"
      if (!proven) return response.writeHead(401).end()
      const user = { name: request.headers["x-remote-user"], groups: request.headers["x-remote-group"] }
      const names = { kind: "APIResourceList", groupVersion: `${group}/v1`, resources: [] }
      response.writeHead(200, { "content-type": "application/json" })
      response.end(
        JSON.stringify(
          request.url === `/apis/${group}/v1` ? names : { kind: "Seen", apiVersion: `${group}/v1`, ...user },
        ),
      )
    })
    await new Promise<void>((resolve) => server!.listen(0, cluster.hostAddress, resolve))
    const { port } = server.address() as AddressInfo
    await cluster.apply([
      {
        apiVersion: "v1",
        kind: "Service",
        metadata: { name: "sample" },
        spec: { ports: [{ port: 443, targetPort: port }] },
      },
      {
        apiVersion: "discovery.k8s.io/v1",
        kind: "EndpointSlice",
        metadata: { name: "sample-1", labels: { "kubernetes.io/service-name": "sample" } },
        addressType: "IPv4",
        endpoints: [{ addresses: [cluster.hostAddress], conditions: { ready: true } }],
        ports: [{ port, protocol: "TCP" }],
      },
      {
        apiVersion: "apiregistration.k8s.io/v1",
        kind: "APIService",
        metadata: { name: `v1.${group}` },
        spec: {
          group,
          version: "v1",
          groupPriorityMinimum: 100,
          versionPriority: 10,
          service: { name: "sample", namespace: cluster.namespace, port: 443 },
          caBundle: readFileSync(join(folder, "crt")).toString("base64"),
        },
      },
    ])
  }, 120_000)

  afterAll(async () => {
    if (server) await cluster.kubectl("delete", "apiservice", `v1.${group}`, "--ignore-not-found")
    server?.close()
    rmSync(folder, { recursive: true, force: true })
  })

  test("receives the caller's identity over a connection proven by the front proxy's certificate", async () => {
    if (!server) return
    const url = `/apis/${group}/v1/seen`
    const seen = await cluster.eventually("the API", async () => JSON.parse(await cluster.kubectl("get", "--raw", url)))
    expect(seen.name).toBe("admin")
    expect(String(seen.groups)).toContain("system:masters")
  })

  test("sees no proof in a call past the API server, whatever its headers say", async () => {
    if (!server) return
    const { port } = server.address() as AddressInfo
    const answer = await fetch(`https://${cluster.hostAddress}:${port}/apis/${group}/v1/seen`, {
      headers: { "x-remote-user": "admin", "x-remote-group": "system:masters" },
      tls: { rejectUnauthorized: false },
    })
    expect(answer.status).toBe(401)
  })

  test("is closed to users RBAC does not allow", async () => {
    if (!server) return
    const stranger = await cluster.user("stranger")
    const result = await stranger.tryKubectl("get", "--raw", `/apis/${group}/v1/seen`)
    expect(result.stderr).toContain("forbidden")
  })
})

describe.skipIf(!cluster.available)("network policies", () => {
  test("are stored and not enforced by the point-to-point CNI: no test here may rely on them", async () => {
    if (!cluster.own) return console.error("SKIPPED: another cluster's CNI may well enforce network policies")
    await cluster.apply([
      ...[deployment("guarded"), service("guarded"), pod("caller")],
      {
        apiVersion: "networking.k8s.io/v1",
        kind: "NetworkPolicy",
        metadata: { name: "deny-all" },
        spec: { podSelector: {}, policyTypes: ["Ingress", "Egress"] },
      },
    ])
    for (const target of ["deployment/guarded", "pod/caller"]) await cluster.ready(target)
    const text = await cluster.eventually("an answer", () =>
      cluster.kubectl("exec", "caller", "--", "sample", "get", "http://guarded:8080/"),
    )
    expect(JSON.parse(text).name).toBe("guarded")
  }, 120_000)
})
