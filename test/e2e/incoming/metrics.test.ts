import { afterEach, beforeEach, describe, expect, test } from "bun:test"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { until } from "../../until.ts"
import { type AgentProcess, startAgentProcess } from "./agent-process.ts"
import { answer, call, data, header, startApplication, steal, stealMatching, stolenRequest, subscribe } from "./kit.ts"
import { makePod, type Pod, whyNoPods } from "./pod.ts"

const reason = whyNoPods()
if (reason) console.warn(`SKIPPED: what an agent tells of its work: ${reason}`)

const get = (path: string, headers = "") => `GET ${path} HTTP/1.1\r\nHost: app\r\n${headers}\r\n`
const secret = "s3cr3t-of-somebody"

describe.skipIf(reason !== undefined)("what an agent tells of its work", () => {
  let pod: Pod
  let agent: AgentProcess
  let folder: string

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), "podside-told-"))
    pod = await makePod()
    const env = { MIRRORD_AGENT_METRICS: "127.0.0.1:0", MIRRORD_AGENT_JSON_LOG: "true", RUST_LOG: "trace" }
    agent = await startAgentProcess(pod.pid, { ...env, GIVEN: secret })
  })
  afterEach(async () => {
    await agent.stop()
    pod.close()
    rmSync(folder, { recursive: true })
  })

  const lines = () =>
    agent
      .output()
      .split("\n")
      .filter((line) => line.startsWith("{"))
      .map((line) => JSON.parse(line))

  /** The gauges that are not 0, without the prefix of their names. */
  async function gauges(): Promise<Record<string, number>> {
    const { metricsPort } = lines().find(({ message }) => message === "listening")
    const text = await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text()
    const values = [...text.matchAll(/^mirrord_agent_(\S+) (\S+)$/gm)]
    return Object.fromEntries(
      values.filter(([, , value]) => value !== "0").map(([, name, value]) => [name, Number(value)]),
    )
  }
  async function settlesAt(expected: Record<string, number>): Promise<void> {
    const deadline = performance.now() + 10_000
    let values = await gauges()
    while (!Bun.deepEquals(values, expected) && performance.now() < deadline) {
      await Bun.sleep(5)
      values = await gauges()
    }
    expect(values).toEqual(expected)
  }

  test("its gauges follow what is going on, and come back to nothing", async () => {
    const [silent, whole, watched] = [0, 1, 2].map(() => startApplication(pod, () => ""))
    const client = await agent.connect()
    await settlesAt({ client_count: 1 })

    expect(await subscribe(client, stealMatching(silent!.port, header("x-user: me")))).toBe("Ok")
    expect(await subscribe(client, steal({ kind: "All", value: whole!.port }))).toBe("Ok")
    expect(await subscribe(client, { kind: "Tcp", value: { kind: "PortSubscribe", value: watched!.port } })).toBe("Ok")
    const subscribed = {
      client_count: 1,
      steal_filtered_port_subscription_count: 1,
      steal_unfiltered_port_subscription_count: 1,
      mirror_port_subscription_count: 1,
    }
    await settlesAt(subscribed)

    const mine = await call(pod, pod.ip4, silent!.port)
    mine.send(get("/", "X-User: me\r\n"))
    const { connectionId } = await stolenRequest(client)
    const other = await call(pod, pod.ip4, silent!.port)
    other.send(get("/"))
    const bypassed = `bypassed_requests{port="${silent!.port}"}`
    await settlesAt({ ...subscribed, redirected_connections_count: 2, redirected_requests_count: 1, [bypassed]: 1 })
    client.send(answer(connectionId, "mine"))
    await mine.until("mine")
    silent!.say("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    await other.until("200 OK")
    await settlesAt({ ...subscribed, redirected_connections_count: 2 })
    for (const caller of [mine, other]) caller.end()
    await settlesAt(subscribed)

    const openOptions = { read: true, write: false, append: false, truncate: false, create: false, createNew: false }
    const second = await agent.connect()
    await second.file({ kind: "Open", value: { path: "/proc/self/cmdline", openOptions } })
    for (const [kind, port] of [
      ["TcpOutgoing", watched!.port],
      ["UdpOutgoing", 9],
    ] as const) {
      const remoteAddress = { kind: "Ip", value: { ip: "127.0.0.1", port } } as const
      await second.ask({ kind, value: { kind: "Connect", value: { remoteAddress } } })
    }
    const busy = { open_fd_count: 1, tcp_outgoing_connection_count: 1, udp_outgoing_connection_count: 1 }
    await settlesAt({ ...subscribed, ...busy, client_count: 2 })
    const { tcp_outgoing_connection_count, ...rest } = busy
    const close = { kind: "TcpOutgoing", value: { kind: "Close", value: { connectionId: 0n } } } as const
    second.send(close, close)
    await settlesAt({ ...subscribed, ...rest, client_count: 2 })
    second.link.close()
    await settlesAt(subscribed)
    client.link.close()
    await settlesAt({})
    for (const app of [silent, whole, watched]) app!.stop()
  }, 120_000)

  test("its log is one JSON object a line, and says nothing of what passes", async () => {
    const app = startApplication(pod, () => `HTTP/1.1 200 OK\r\ncontent-length: ${secret.length}\r\n\r\n${secret}`)
    const client = await agent.connect()
    writeFileSync(join(folder, secret), secret)
    const openOptions = { read: true, write: false, append: false, truncate: false, create: false, createNew: false }
    const { value } = await client.file({ kind: "Open", value: { path: join(folder, secret), openOptions } })
    if (value.kind !== "Ok") throw new Error("no file")
    expect(await client.file({ kind: "Read", value: { remoteFd: 0n, bufferSize: 99n } })).toMatchObject({
      value: { kind: "Ok", value: { bytes: new Uint8Array(Buffer.from(secret)) } },
    })
    await client.ask({ kind: "GetEnvVarsRequest", value: { envVarsFilter: [secret], envVarsSelect: ["*"] } })

    expect(await subscribe(client, stealMatching(app.port, header(`authorization: ${secret}`)))).toBe("Ok")
    for (const line of [`Authorization: ${secret}\r\n`, `X-Other: ${secret}\r\n`]) {
      const caller = await call(pod, pod.ip4, app.port)
      caller.send(get(`/?token=${secret}`, line))
      if (line.startsWith("A")) {
        const { connectionId } = await stolenRequest(client)
        client.send(data(connectionId, secret), answer(connectionId, secret))
      }
      await caller.until(secret)
      caller.reset()
    }

    const bad = await agent.connect()
    bad.send(stealMatching(app.port, header(`authorization: ${secret}(`)))
    expect(await bad.next()).toMatchObject({ kind: "Close", value: expect.stringContaining(secret) })
    const hostile = await agent.connect()
    hostile.send({ kind: "FileRequest", value: { kind: "Access", value: { pathname: "relative", mode: 0 } } })
    expect(await hostile.closed()).toContain("relative")
    for (const each of [client, bad]) each.link.abort()
    await until(() => lines().filter(({ message }) => message === "client gone").length === 3)
    app.stop()
    const output = agent.output()
    expect(output).not.toContain(secret)
    for (const line of output.trimEnd().split("\n")) {
      if (line !== "agent ready")
        expect(JSON.parse(line)).toMatchObject({ time: expect.any(String), level: expect.any(String) })
    }
  })
})
