import { beforeAll, describe, expect, test } from "bun:test"
import { targetRules } from "../../config/manifests/rules.ts"
import { deployment } from "../cluster/samples/workloads.ts"
import { type ClusterUser, useCluster } from "../cluster/use.ts"
import { newSessionId, operatorClient, Refused, reader } from "./operator/client.ts"
import { useOperator } from "./operator/install.ts"

const cluster = useCluster("rbac")
const installed = useOperator(cluster, { agent: { idleSeconds: 5 } })

const api = "operator.metalbear.co"
const apps = { apiGroups: ["apps"], resources: ["deployments", "replicasets"], verbs: ["get", "list"] }
const pods = { apiGroups: [""], resources: ["pods"], verbs: ["get", "list"] }
const proxy = { apiGroups: [api], resources: ["targets"], verbs: ["get", "list", "proxy"] }

/** Rules in the test's namespace; everybody but dan also has the basic cluster role. */
const people: Record<string, object[]> = {
  /** A whole user: targets and what is behind them. */
  ann: [proxy, apps, pods],
  /** May connect to one workload by name. */
  ben: [{ ...proxy, resourceNames: ["deployment.web"] }, apps, pods],
  /** May ask the operator for anything, but Kubernetes shows her no workload. */
  cat: [proxy],
  /** Sees the workloads, but is no user of the operator. */
  dan: [apps, pods],
  /** May see only one workload, whatever the operator would allow. */
  eve: [proxy, { ...apps, resourceNames: ["web"], verbs: ["get"] }, pods],
  /** Has the Role the chart makes for namespaces. */
  fay: [...targetRules, apps, pods],
}

type Outcome = "ok" | 403

/** Who gets what: [user, URL name, plain get, connect]. */
const matrix: [user: string, target: string, get: Outcome, connect: Outcome][] = [
  ["cat", "deployment.web", 403, 403],
  ["dan", "deployment.web", 403, 403],
  ["ben", "deployment.api", 403, 403],
  ["eve", "deployment.api", 403, 403],
  ["ben", "deployment.web.container.web", 403, 403],
  ["ann", "deployment.web", "ok", "ok"],
  ["ann", "deployment.api", "ok", "ok"],
  ["ann", "deployment.web.container.web", "ok", "ok"],
  ["ben", "deployment.web", "ok", "ok"],
  ["eve", "deployment.web", "ok", "ok"],
]

describe.skipIf(!cluster.available).each(["impersonate", "review"])("with rbac-impersonation in mode %s", (mode) => {
  const users = new Map<string, ClusterUser>()

  beforeAll(async () => {
    // The audit stands in the log whatever else does.
    await installed.change({ impersonation: { mode }, operator: { logLevel: "error" } })
    await cluster.apply([deployment("web"), deployment("api")])
    await cluster.ready("deployment/web")
    await cluster.ready("deployment/api")
    for (const [name, rules] of Object.entries(people)) {
      users.set(name, await cluster.user(name, ["developers"]))
      const subjects = [{ kind: "User", name, apiGroup: "rbac.authorization.k8s.io" }]
      const roleRef = (kind: string, role: string) => ({ kind, name: role, apiGroup: "rbac.authorization.k8s.io" })
      await cluster.apply([
        {
          apiVersion: "rbac.authorization.k8s.io/v1",
          kind: "Role",
          metadata: { name, namespace: cluster.namespace },
          rules,
        },
        {
          apiVersion: "rbac.authorization.k8s.io/v1",
          kind: "RoleBinding",
          metadata: { name, namespace: cluster.namespace },
          subjects,
          roleRef: roleRef("Role", name),
        },
        ...(name === "dan"
          ? []
          : [
              {
                apiVersion: "rbac.authorization.k8s.io/v1",
                kind: "ClusterRoleBinding",
                metadata: { name: `${cluster.namespace}-${name}` },
                subjects,
                roleRef: roleRef("ClusterRole", "mirrord-operator-user-basic"),
              },
            ]),
      ])
    }
    await cluster.eventually(
      "RBAC knows the roles",
      async () => (await users.get("ann")!.tryKubectl("get", "targets")).code === 0,
    )
  }, 180_000)

  const agents = async () => (await cluster.get("pods", "-n", installed.namespace, "-l", "app=mirrord")).items.length

  test.each(matrix)(
    "%s and %s: get %s, connect %s",
    async (user, target, get, connect) => {
      const { kubeconfig, tryKubectl } = users.get(user)!
      const seen = await tryKubectl("get", "target", target)
      expect(get === "ok" ? seen.code : seen.stderr).toEqual(get === "ok" ? 0 : expect.stringMatching(/forbidden/i))
      const before = await agents()
      const client = operatorClient(kubeconfig)
      // Without the right to a certificate there is nothing to connect with; the connect itself must be refused all the same.
      const certificate = user === "dan" ? "bm9uZQ==" : undefined
      const attempt = client.connect({ namespace: cluster.namespace, target, certificate })
      if (connect === "ok") {
        const link = await attempt
        link.close()
        await link.ended
        return
      }
      const refusal = await attempt.then(
        (link) => {
          link.abort()
          return undefined
        },
        (error) => error,
      )
      expect(refusal).toBeInstanceOf(Refused)
      expect(refusal.status).toBe(403)
      expect(await agents()).toBeLessThanOrEqual(before)
    },
    120_000,
  )

  test("a list shows what the caller may list", async () => {
    expect(await users.get("ann")!.kubectl("get", "targets", "-o", "name")).toContain("deployment.web")
    expect((await users.get("cat")!.tryKubectl("get", "targets")).stderr).toMatch(/forbidden/i)
    expect((await users.get("dan")!.tryKubectl("get", "targets")).stderr).toMatch(/forbidden/i)
  })

  test("sessions are listed and ended only with the right to it", async () => {
    for (const name of ["ann", "ben"]) {
      expect((await users.get(name)!.tryKubectl("get", "sessions")).stderr).toMatch(/forbidden/i)
      expect((await users.get(name)!.tryKubectl("delete", "sessions", "--all")).stderr).toMatch(/forbidden/i)
    }
    expect(await cluster.kubectl("get", "sessions")).toBeDefined()
  })

  test("who has the Role of one namespace lists and ends its sessions, and no others", async () => {
    const { kubectl, tryKubectl, kubeconfig } = users.get("fay")!
    const client = operatorClient(kubeconfig)
    const sessionId = newSessionId()
    const link = await client.connect({ namespace: cluster.namespace, target: "deployment.web", sessionId })
    const read = reader(link)
    const name = `session.operator.metalbear.co/${sessionId.toString(16).toUpperCase()}`
    expect((await kubectl("get", "sessions", "-o", "name")).split("\n")).toContain(name)
    for (const command of [
      ["get", "sessions", "-A"],
      ["get", "sessions", "-n", "default"],
      ["delete", name, "-n", "default"],
    ]) {
      expect((await tryKubectl(...command)).stderr).toMatch(/forbidden/i)
    }
    const all = await tryKubectl("delete", "--raw", "/apis/operator.metalbear.co/v1/sessions?")
    expect(all.stderr).toMatch(/forbidden/i)
    expect(await kubectl("delete", name)).toContain("deleted")
    await expect(read.nextOf("Pong")).rejects.toThrow("ended by fay")
  }, 120_000)

  test("a forged identity header sent through the API server changes nothing", async () => {
    const client = operatorClient(users.get("cat")!.kubeconfig)
    const headers = { "X-Remote-User": "admin", "X-Remote-Group": "system:masters" }
    const attempt = client.connect({ namespace: cluster.namespace, target: "deployment.web", headers })
    await expect(attempt).rejects.toMatchObject({ status: 403 })
  })

  test("a session of one user is nobody else's", async () => {
    const ann = operatorClient(users.get("ann")!.kubeconfig)
    const ben = operatorClient(users.get("ben")!.kubeconfig)
    const sessionId = 77n + BigInt(Date.now())
    const link = await ann.connect({ namespace: cluster.namespace, target: "deployment.web", sessionId })
    await expect(
      ben.connect({ namespace: cluster.namespace, target: "deployment.web", sessionId }),
    ).rejects.toMatchObject({
      status: 403,
      body: { message: expect.stringContaining("belongs to another") },
    })
    // The same user with another machine's certificate is refused too.
    const elsewhere = operatorClient(users.get("ann")!.kubeconfig)
    await expect(
      elsewhere.connect({ namespace: cluster.namespace, target: "deployment.web", sessionId }),
    ).rejects.toMatchObject({
      status: 403,
    })
    const again = await ann.connect({ namespace: cluster.namespace, target: "deployment.web", sessionId })
    again.close()
    link.close()
  }, 120_000)

  test("refusals are recorded with who asked for what", async () => {
    await cluster.eventually("an Event about cat", async () => {
      const { items } = await cluster.get("events", "--field-selector", "reason=SessionDenied")
      return items.some((event: { message: string }) => event.message.includes("user cat"))
    })
    expect(await installed.logs()).toMatch(/"kind":"session-denied".*"user":"cat"/)
  }, 120_000)
})
