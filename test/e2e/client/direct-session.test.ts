import { beforeAll, describe, expect, test } from "bun:test"
import { podsideBinary } from "../../binary.ts"
import { run } from "../../cluster/run.ts"
import { deployment, service } from "../../cluster/samples/workloads.ts"
import { type ClusterUser, useCluster } from "../../cluster/use.ts"

const cluster = useCluster("direct")
const limitMs = 120_000

describe.skipIf(!cluster.available)("a session without an operator", () => {
  let binary = ""
  let user: ClusterUser
  beforeAll(async () => {
    binary = await podsideBinary()
    await cluster.importPodsideImage()
    await cluster.apply([deployment("web", { environment: { GREETING: "from the pod" } }), service("web")])
    await cluster.ready("deployment/web")
    user = await cluster.user("dev")
    await cluster.apply(permissions)
  }, limitMs)

  /** Runs `podside exec` as the developer. */
  const exec = (options: string[], ...program: string[]) =>
    run([binary, "exec", "-n", cluster.namespace, "-a", cluster.namespace, ...options, "--", ...program], {
      env: { KUBECONFIG: user.kubeconfig, MIRRORD_OPERATOR_ENABLE: "false" },
      timeoutSeconds: 60,
    })

  test(
    "a program has the pod's environment, files, names and network, and nothing stays behind",
    async () => {
      const script = "echo $GREETING; cat /etc/hostname; curl -s http://web:8080/"
      const { code, stdout, stderr } = await exec(["-t", "deployment/web"], "sh", "-c", script)
      const [{ metadata }] = (await cluster.get("pods", "-l", "app=web")).items
      expect(stderr).toContain("Ready! sh runs with the agent mirrord-agent-")
      expect(stdout).toContain(`from the pod\n${metadata.name}\n`)
      expect(stdout).toContain("web")
      expect(code).toBe(0)
      await cluster.eventually("no agents", async () => (await cluster.get("jobs")).items.length === 0)
    },
    limitMs,
  )

  test(
    "the program's exit code is passed on",
    async () => {
      expect((await exec(["-t", "deployment/web"], "sh", "-c", "exit 7")).code).toBe(7)
    },
    limitMs,
  )
})

/** What the documentation asks for, and nothing else. */
const permissions = [
  {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "Role",
    metadata: { name: "podside-direct" },
    rules: [
      { apiGroups: [""], resources: ["pods"], verbs: ["get", "list", "watch"] },
      { apiGroups: [""], resources: ["pods/log"], verbs: ["get"] },
      { apiGroups: [""], resources: ["pods/portforward"], verbs: ["create", "get"] },
      { apiGroups: ["apps"], resources: ["deployments"], verbs: ["get"] },
      { apiGroups: ["batch"], resources: ["jobs"], verbs: ["create"] },
    ],
  },
  {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "RoleBinding",
    metadata: { name: "podside-direct" },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name: "podside-direct" },
    subjects: [{ apiGroup: "rbac.authorization.k8s.io", kind: "User", name: "dev" }],
  },
]
