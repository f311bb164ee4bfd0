import { afterEach, beforeAll, describe, expect, test } from "bun:test"
import { deployment } from "../cluster/samples/workloads.ts"
import { useCluster } from "../cluster/use.ts"
import { type ConnectOptions, newSessionId, operatorClient, reader } from "./operator/client.ts"
import { useOperator } from "./operator/install.ts"

const cluster = useCluster("ephemeral")
const installed = useOperator(cluster, { agent: { ephemeral: true, idleSeconds: 3 } })

interface EphemeralStatus {
  name: string
  state?: { running?: object; terminated?: { exitCode: number } }
}

describe.skipIf(!cluster.available)("agents in the target's own pod", () => {
  let client: ReturnType<typeof operatorClient>
  const links: { close(): void }[] = []

  beforeAll(async () => {
    await cluster.apply(deployment("web"))
    await cluster.ready("deployment/web")
    client = operatorClient(cluster.kubeconfig)
  }, 120_000)
  afterEach(() => {
    for (const link of links.splice(0)) link.close()
  })

  const openSession = async (options: Partial<ConnectOptions> = {}) => {
    const link = await client.connect({
      namespace: cluster.namespace,
      target: "deployment.web",
      sessionId: newSessionId(),
      ...options,
    })
    links.push(link)
    const read = reader(link)
    link.send({ kind: "SwitchProtocolVersion", value: "1.29.0" })
    await read.nextOf("SwitchProtocolVersionResponse")
    return { link, read }
  }
  const pod = async () => (await cluster.get("pods", "-l", "app=web")).items[0]
  const agents = async (): Promise<EphemeralStatus[]> => (await pod()).status.ephemeralContainerStatuses ?? []
  const agentPods = async () => (await cluster.get("pods", "-A", "-l", "app=mirrord")).items
  const allEnded = () =>
    cluster.eventually("the end of every agent", async () =>
      (await agents()).every(({ state }) => state?.terminated !== undefined),
    )
  /** What the target's own program answers to a request: the sample says who it is. */
  const answerOf = async (port: number) => {
    const signal = AbortSignal.timeout(5_000)
    return (await fetch(`http://${(await pod()).status.podIP}:${port}/`, { signal })).text()
  }

  test("environment, files and stolen traffic; one agent for all sessions, which ends by itself and leaves no rule", async () => {
    const [one, other] = [await openSession(), await openSession()]
    for (const { link, read } of [one, other]) {
      link.send({ kind: "GetEnvVarsRequest", value: { envVarsFilter: [], envVarsSelect: ["SAMPLE_NAME"] } })
      const { value } = await read.nextOf("GetEnvVarsResponse")
      expect(value.kind === "Ok" && value.value.get("SAMPLE_NAME")).toBe("web")
      link.send({ kind: "FileRequest", value: { kind: "Access", value: { pathname: "/bin/sample", mode: 4 } } })
      expect((await read.nextOf("File")).value).toMatchObject({ kind: "Access", value: { kind: "Ok" } })
    }
    expect((await agents()).map(({ state }) => Object.keys(state ?? {}))).toEqual([["running"]])
    expect(await agentPods()).toEqual([])

    one.link.send({ kind: "TcpSteal", value: { kind: "PortSubscribe", value: { kind: "All", value: 8080 } } })
    expect((await one.read.nextOf("TcpSteal")).value.kind).toBe("SubscribeResult")
    const asked = answerOf(8080).catch((error) => error)
    const stolen = await one.read.nextOf("TcpSteal")
    expect(stolen.value.kind).toBe("NewConnectionV2")
    for (const { link } of [one, other]) link.close()
    await asked
    await allEnded()
    for (const { state } of await agents()) expect(state?.terminated?.exitCode).toBe(0)
    expect(await answerOf(8080)).toContain("web")
  }, 120_000)

  test("a session after the agent's end gets the next one, one without a target an agent of its own", async () => {
    await allEnded()
    const before = (await agents()).length
    const { link, read } = await openSession()
    link.send({ kind: "GetEnvVarsRequest", value: { envVarsFilter: [], envVarsSelect: ["SAMPLE_NAME"] } })
    expect((await read.nextOf("GetEnvVarsResponse")).value.kind).toBe("Ok")
    expect(await agents()).toHaveLength(before + 1)
    await openSession({ target: "targetless" })
    expect(await agentPods()).toHaveLength(1)
  }, 120_000)

  test("the right to add containers comes with the setting and goes with it", async () => {
    const may = () =>
      cluster.tryKubectl(
        "auth",
        "can-i",
        "patch",
        "pods",
        "--subresource=ephemeralcontainers",
        "--as",
        `system:serviceaccount:${installed.namespace}:podside-operator`,
      )
    expect((await may()).stdout.trim()).toBe("yes")
    await installed.change({ agent: { idleSeconds: 3 } })
    expect((await may()).stdout.trim()).toBe("no")
  }, 120_000)

  test("an image that is missing is said", async () => {
    await installed.change({ agent: { ephemeral: true, idleSeconds: 3, image: "podside:nowhere" } })
    await cluster.apply(deployment("other"))
    await cluster.ready("deployment/other")
    await expect(openSession({ target: "deployment.other" })).rejects.toMatchObject({
      status: 500,
      body: { kind: "Status", message: expect.stringMatching(/ErrImageNeverPull|not present/) },
    })
  }, 120_000)
})
