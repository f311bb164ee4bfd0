import { beforeAll, describe, expect, test } from "bun:test"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { must, run } from "../cluster/run.ts"
import { deployment, service } from "../cluster/samples/workloads.ts"
import { useCluster } from "../cluster/use.ts"
import { type ConnectOptions, newSessionId, operatorClient, reader } from "./operator/client.ts"
import { useOperator } from "./operator/install.ts"

/*
 * Every hook of the operator, by a plugin somebody outside has written and mounted into its pods. What it forbids stands in part in
 * objects of the cluster, which it follows, as policies do.
 */

const cluster = useCluster("plugin")
const installed = useOperator(cluster, { crds: true })

const source = `
import { definePlugin } from "podside"
import * as v from "valibot"

const deny = (reason, more) => ({ allow: false, code: "house-rule", reason, ...more })
export default definePlugin({
  name: "house-rules",
  config: v.strictObject({ closedTarget: v.string(), policies: v.string() }),
  operator: ({ config, kube }) => {
    const seen = []
    let policies = []
    return {
      start: () => kube.follow(config.policies, (objects) => { policies = objects }, { labelSelector: "house-policy" }),
      addRoutes: (app) => app.get("/apis/operator.metalbear.co/v1/house", (c) => c.json({ seen, by: c.get("identity").user })),
      async authorizeSession({ target, labels, profile }) {
        const policy = policies.find(({ data }) => data.tier === labels.tier && data.profile !== profile)
        if (policy) return deny("use profile " + policy.data.profile, { policy: policy.metadata.name })
        return target.name === config.closedTarget ? deny(target.name + " is closed") : { allow: true }
      },
      async authorizeSubscription({ mode, port, filter, pods }) {
        const owners = pods.flatMap(({ owners }) => owners.map(({ kind }) => kind))
        if (filter?.kind === "Path") return deny("filter by a header", { policy: "headers-only" })
        return mode === "steal" && !filter ? deny([port, ...new Set(owners)].join(" ")) : { allow: true }
      },
      async authorizeFile({ path }) {
        if (path.startsWith("/srv/own-")) return deny("of each machine", { answer: "local" })
        if (path.endsWith("/serviceaccount/token")) return deny("hidden", { answer: "not-found", policy: "no-tokens" })
        return path.startsWith("/etc/") ? deny("not " + path) : { allow: true }
      },
      async authorizeOutgoing({ host, port, names }) {
        if (names.includes("web-forbidden")) return deny("not by that name", { policy: "names" })
        return port === 7000 ? deny(host) : { allow: true }
      },
      filterEnv: (session, variables) => new Map([...variables].filter(([name]) => name !== "SAMPLE_NAME")),
      onSessionOpened: ({ id }) => seen.push("opened " + id),
      onSessionClosed: ({ id }, why) => seen.push("closed " + id + ": " + why),
      onAudit: ({ kind, sessionId, policy }) => seen.push([kind, sessionId, policy].filter(Boolean).join(" ")),
    }
  },
})`

describe.skipIf(!cluster.available)("a plugin from outside", () => {
  let client: ReturnType<typeof operatorClient>
  beforeAll(async () => {
    const metadata = { name: "own-plugins", namespace: installed.namespace }
    const config = { apiVersion: "v1", kind: "ConfigMap", metadata, data: { "house-rules.ts": source } }
    await must(["kubectl", "apply", "-f", "-"], {
      env: { KUBECONFIG: cluster.kubeconfig },
      input: JSON.stringify(config),
    })
    const policies = `/api/v1/namespaces/${cluster.namespace}/configmaps`
    const rbac = { apiVersion: "rbac.authorization.k8s.io/v1" }
    const reader = { name: "house-policies", namespace: cluster.namespace }
    const verbs = ["get", "list", "watch"]
    await installed.change({
      plugins: { "house-rules": { closedTarget: "vault", policies } },
      extraObjects: [
        { ...rbac, kind: "Role", metadata: reader, rules: [{ apiGroups: [""], resources: ["configmaps"], verbs }] },
        {
          ...{ ...rbac, kind: "RoleBinding", metadata: reader },
          roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name: reader.name },
          subjects: [{ kind: "ServiceAccount", name: "podside-operator", namespace: installed.namespace }],
        },
      ],
      operator: {
        extraEnv: { PODSIDE_PLUGINS: "/plugins" },
        extraVolumes: [{ name: "own-plugins", configMap: { name: "own-plugins" } }],
        extraVolumeMounts: [{ name: "own-plugins", mountPath: "/plugins", readOnly: true }],
      },
    })
    await cluster.apply([
      deployment("web"),
      service("web"),
      service("web-forbidden", { selector: { app: "web" } }),
      deployment("vault"),
    ])
    await cluster.ready("deployment/web")
    await cluster.ready("deployment/vault")
    client = operatorClient(cluster.kubeconfig)
  }, 240_000)

  const openSession = async (options: Partial<ConnectOptions> = {}) => {
    const sessionId = newSessionId()
    const link = await client.connect({
      namespace: cluster.namespace,
      target: "deployment.web",
      sessionId,
      ...options,
    })
    const read = reader(link)
    link.send({ kind: "SwitchProtocolVersion", value: "1.29.0" })
    await read.nextOf("SwitchProtocolVersionResponse")
    return { name: sessionId.toString(16).toUpperCase(), link, read }
  }

  test("denies sessions, ports, files, connections and variables, and lets pass what it does not mind", async () => {
    await expect(openSession({ target: "deployment.vault" })).rejects.toMatchObject({
      status: 403,
      body: { message: expect.stringContaining("vault is closed") },
    })
    const { link, read } = await openSession()
    link.send({ kind: "GetEnvVarsRequest", value: { envVarsFilter: [], envVarsSelect: ["*"] } })
    const { value: environment } = await read.nextOf("GetEnvVarsResponse")
    if (environment.kind !== "Ok") throw new Error("no environment")
    expect([environment.value.has("SAMPLE_NAME"), environment.value.has("HOSTNAME")]).toEqual([false, true])

    const access = async (pathname: string) => {
      link.send({ kind: "FileRequest", value: { kind: "Access", value: { pathname, mode: 4 } } })
      const { value } = await read.nextOf("File")
      return value.kind === "Access" && value.value.kind
    }
    expect([await access("/etc/hostname"), await access("/bin/sample")]).toEqual(["Err", "Ok"])

    const { clusterIP } = (await cluster.get("service", "web")).spec
    const reach = async (port: number) => {
      const remoteAddress = { kind: "Ip" as const, value: { ip: clusterIP, port } }
      const uid = crypto.randomUUID()
      link.send({ kind: "TcpOutgoing", value: { kind: "ConnectV2", value: { uid, remoteAddress } } })
      const { value } = await read.nextOf("TcpOutgoing")
      return value.kind === "ConnectV2" && value.value.connect.kind
    }
    expect([await reach(7000), await reach(8080)]).toEqual(["Err", "Ok"])

    const filter = { kind: "Header" as const, value: "x-user: me" }
    link.send({ kind: "TcpSteal", value: { kind: "PortSubscribe", value: { kind: "All", value: 8080 } } })
    const refused = await read.nextOf("TcpSteal")
    expect(refused.value).toMatchObject({
      value: { kind: "Err", value: { value: { policyName: "house-rules", reason: "8080 ReplicaSet Deployment" } } },
    })
    link.send({
      kind: "TcpSteal",
      value: { kind: "PortSubscribe", value: { kind: "FilteredHttpEx", value: [8080, filter] } },
    })
    expect((await read.nextOf("TcpSteal")).value).toMatchObject({ value: { kind: "Ok", value: 8080 } })
    link.close()
  }, 90_000)

  test("hears of sessions and of the audit, and adds a route, which knows who asks and whom Kubernetes lets pass", async () => {
    const { name, link } = await openSession()
    const house = ["get", "--raw", "/apis/operator.metalbear.co/v1/house"]
    const jane = await cluster.user("jane")
    expect((await jane.tryKubectl(...house)).stderr).toContain("forbidden")
    const asked = async () => JSON.parse(await cluster.kubectl(...house))
    expect((await asked()).by).toBe("admin")
    const seen = async (): Promise<string[]> => (await asked()).seen
    expect(await seen()).toEqual(expect.arrayContaining([`opened ${name}`, `session-started ${name}`]))
    await cluster.kubectl("delete", "session", name)
    await cluster.eventually("its end", async () => (await seen()).includes(`session-killed ${name}`))
    expect(await seen()).toContainEqual(expect.stringContaining(`closed ${name}: it was ended by`))
    link.close()
  }, 60_000)

  const podside = (...args: string[]) =>
    run([process.execPath, join(import.meta.dir, "../../core/main.ts"), ...args], {
      env: { KUBECONFIG: cluster.kubeconfig },
      timeoutSeconds: 60,
    })
  const exec = (options: string[], ...command: string[]) =>
    podside("exec", "--target", "deployment/web", "-n", cluster.namespace, ...options, "--", ...command)

  test("goes by objects of the cluster as they are, by labels of what was named and by the profile; the user reads which one forbids", async () => {
    const metadata = { name: "front-by-profile", labels: { "house-policy": "" } }
    await cluster.apply({ apiVersion: "v1", kind: "ConfigMap", metadata, data: { tier: "front", profile: "careful" } })
    const profile = { apiVersion: "profiles.mirrord.metalbear.co/v1alpha", kind: "MirrordClusterProfile" }
    await cluster.apply({
      ...{ ...profile, metadata: { name: "careful" } },
      spec: { featureAdjustments: [{ change: "incoming-off" }] },
    })
    const folder = await mkdtemp(join(tmpdir(), "podside-profile-"))
    const file = join(folder, "mirrord.json")
    await writeFile(file, JSON.stringify({ profile: "careful" }))
    try {
      // Its deployment has no such label yet.
      expect((await exec([], "true")).code).toBe(0)
      await cluster.kubectl("label", "deployment/web", "tier=front")
      const refused = await exec([], "true")
      expect([refused.code, refused.stderr]).toEqual([
        1,
        expect.stringContaining('Forbidden by policy "front-by-profile": use profile careful'),
      ])
      expect((await exec(["-f", file], "true")).code).toBe(0)
      await cluster.eventually("an Event that names it", async () => {
        const { items } = await cluster.get("events", "--field-selector", "reason=SessionDenied")
        return items.some(({ message }: { message: string }) => message.includes("policy front-by-profile"))
      })
      await cluster.kubectl("delete", "configmap", metadata.name)
      await cluster.eventually("the policy is gone", async () => (await exec([], "true")).code === 0)
    } finally {
      await cluster.tryKubectl("label", "deployment/web", "tier-")
      await cluster.tryKubectl("delete", "mirrordclusterprofile", "careful")
      await rm(folder, { recursive: true })
    }
  }, 120_000)

  test("sends a program to its own machine's file, and hides one; others are the pod's", async () => {
    const own = `/srv/own-${crypto.randomUUID()}`
    await writeFile(own, "of this machine")
    const secrets = "/var/run/secrets/kubernetes.io/serviceaccount"
    try {
      expect(await exec([], "cat", own)).toMatchObject({ code: 0, stdout: "of this machine" })
      const hidden = await exec([], "cat", `${secrets}/token`)
      expect([hidden.code, hidden.stderr]).toEqual([1, expect.stringContaining("No such file or directory")])
      expect(await exec([], "cat", `${secrets}/namespace`)).toMatchObject({ code: 0, stdout: cluster.namespace })
      const logs = await installed.logs()
      expect(logs).toMatch(/"kind":"request-denied".*"policy":"no-tokens"/)
      expect(logs).not.toContain(`read ${own}`)
    } finally {
      await rm(own)
    }
  }, 120_000)

  test("forbids a server by the name it was looked up by; the same address without that name is reached", async () => {
    const fetched = async (name: string) =>
      (await exec([], "curl", "--silent", "--show-error", "--max-time", "10", `http://${name}:8080/`)).code
    const { clusterIP } = (await cluster.get("service", "web-forbidden")).spec
    expect(await fetched("web-forbidden")).not.toBe(0)
    expect(await fetched(clusterIP)).toBe(0)
    expect(await fetched("web")).toBe(0)
    expect(await installed.logs()).toMatch(/"reason":"(?:tcp|udp) [0-9.]+:8080: not by that name".*"policy":"names"/)
  }, 120_000)

  test("forbids a filter that is not by header, and names the rule to the user", async () => {
    const { link, read } = await openSession()
    const ask = async (kind: "Path" | "Header") => {
      const filter = { kind, value: "x" }
      link.send({
        kind: "TcpSteal",
        value: { kind: "PortSubscribe", value: { kind: "FilteredHttpEx", value: [8080, filter] } },
      })
      return (await read.nextOf("TcpSteal")).value
    }
    expect(await ask("Path")).toMatchObject({
      value: { kind: "Err", value: { value: { policyName: "headers-only", reason: "filter by a header" } } },
    })
    expect(await ask("Header")).toMatchObject({ value: { kind: "Ok" } })
    link.close()
  }, 60_000)
})
