import { beforeAll, describe, expect, test } from "bun:test"
import { must } from "../cluster/run.ts"
import { deployment, service } from "../cluster/samples/workloads.ts"
import { useCluster } from "../cluster/use.ts"
import { type ConnectOptions, newSessionId, operatorClient, reader } from "./operator/client.ts"
import { useOperator } from "./operator/install.ts"

/* Every hook of the operator, by a plugin somebody outside has written and mounted into its pods. */

const cluster = useCluster("plugin")
const installed = useOperator(cluster)

const source = `
import { definePlugin } from "podside"
import * as v from "valibot"

const deny = (reason) => ({ allow: false, code: "house-rule", reason })
export default definePlugin({
  name: "house-rules",
  config: v.strictObject({ closedTarget: v.string() }),
  operator: ({ config }) => {
    const seen = []
    return {
      addRoutes: (app) => app.get("/apis/operator.metalbear.co/v1/house", (c) => c.json({ seen })),
      async authorizeSession({ target }) {
        return target.name === config.closedTarget ? deny(target.name + " is closed") : { allow: true }
      },
      async authorizeSubscription({ mode, port, filter, pods }) {
        const owners = pods.flatMap(({ owners }) => owners.map(({ kind }) => kind))
        return mode === "steal" && !filter ? deny([port, ...new Set(owners)].join(" ")) : { allow: true }
      },
      async authorizeFile({ path }) {
        return path.startsWith("/etc/") ? deny("not " + path) : { allow: true }
      },
      async authorizeOutgoing({ host, port }) {
        return port === 7000 ? deny(host) : { allow: true }
      },
      filterEnv: (session, variables) => new Map([...variables].filter(([name]) => name !== "SAMPLE_NAME")),
      onSessionOpened: ({ id }) => seen.push("opened " + id),
      onSessionClosed: ({ id }, why) => seen.push("closed " + id + ": " + why),
      onAudit: ({ kind, sessionId }) => seen.push(kind + " " + sessionId),
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
    await installed.change({
      plugins: { "house-rules": { closedTarget: "vault" } },
      operator: {
        extraEnv: { PODSIDE_PLUGINS: "/plugins" },
        extraVolumes: [{ name: "own-plugins", configMap: { name: "own-plugins" } }],
        extraVolumeMounts: [{ name: "own-plugins", mountPath: "/plugins", readOnly: true }],
      },
    })
    await cluster.apply([deployment("web"), service("web"), deployment("vault")])
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

  test("hears of sessions and of the audit, and adds a route", async () => {
    const { name, link } = await openSession()
    const seen = async (): Promise<string[]> =>
      JSON.parse(await cluster.kubectl("get", "--raw", "/apis/operator.metalbear.co/v1/house")).seen
    expect(await seen()).toEqual(expect.arrayContaining([`opened ${name}`, `session-started ${name}`]))
    await cluster.kubectl("delete", "session", name)
    await cluster.eventually("its end", async () => (await seen()).includes(`session-killed ${name}`))
    expect(await seen()).toContainEqual(expect.stringContaining(`closed ${name}: it was ended by`))
    link.close()
  }, 60_000)
})
