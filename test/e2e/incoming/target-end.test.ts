import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { within } from "../../../agent/test-agent.ts"
import { NfTables } from "../../../plugins/interception/agent/nf-tables.ts"
import { startAgentProcess } from "./agent-process.ts"
import {
  answer,
  call,
  data,
  exchange,
  header,
  startApplication,
  steal,
  stealMatching,
  stolen,
  stolenRequest,
  subscribe,
  type TestApplication,
} from "./kit.ts"
import { makePod, type Pod, whyNoPods } from "./pod.ts"

const reason = whyNoPods()
if (reason) console.warn(`SKIPPED: the end of a target end to end: ${reason}`)

describe.skipIf(reason !== undefined)("a target that is killed", () => {
  let pod: Pod
  let app: TestApplication

  beforeAll(async () => {
    pod = await makePod()
    app = startApplication(pod, (text) => (text === "" ? "" : `app: ${text}`))
  }, 120_000)

  afterAll(() => {
    app?.stop()
    pod?.close()
  })

  test("in the middle of everything ends the agent: clients are told, callers are let go, no rule stays", async () => {
    // The process beside which the agent works; the application is another one, as a container's neighbours are.
    const target = pod.inPod(() => Bun.spawn(["cat"], { stdin: "pipe", stdout: "ignore" }))
    const agent = await startAgentProcess(target.pid)
    const [stealing, dialling, idle] = [await agent.connect(), await agent.connect(), await agent.connect()]
    expect(await subscribe(stealing, steal({ kind: "All", value: app.port }))).toBe("Ok")
    const caller = await call(pod, pod.ip4, app.port)
    const opened = await stolen(stealing)
    if (opened.kind !== "NewConnectionV2") throw new Error(opened.kind)
    stealing.send(data(opened.value.connection.connectionId, "half of "))
    await caller.until("half of ")
    const remoteAddress = { kind: "Ip", value: { ip: "127.0.0.1", port: app.port } } as const
    const dialled = await dialling.ask({ kind: "TcpOutgoing", value: { kind: "Connect", value: { remoteAddress } } })
    expect(dialled).toMatchObject({ value: { value: { kind: "Ok" } } })
    const openOptions = { read: true, write: false, append: false, truncate: false, create: false, createNew: false }
    await dialling.file({ kind: "Open", value: { path: "/etc/hostname", openOptions } })
    target.kill("SIGKILL")
    for (const client of [stealing, dialling, idle])
      expect(await client.closed()).toBe("The target container has ended")
    expect(await within("the agent's end", agent.ended, 30_000)).toBe(0)
    await caller.ended
    const left = pod.inPod(() => {
      const tables = new NfTables()
      const names = tables.tables()
      tables.close()
      return names
    })
    expect(left).toEqual([])
    expect(await exchange(pod, pod.ip4, app.port, "x")).toBe("app: x")
  }, 120_000)

  test("lets go of idle callers in that moment: soon the pod's network is gone, and they would wait for ever", async () => {
    /** How long an idle caller is held, in milliseconds. */
    async function held(): Promise<number> {
      const target = pod.inPod(() => Bun.spawn(["cat"], { stdin: "pipe", stdout: "ignore" }))
      const agent = await startAgentProcess(target.pid)
      const stealing = await agent.connect()
      expect(await subscribe(stealing, stealMatching(app.port, header("x-user: me")))).toBe("Ok")
      const caller = await call(pod, pod.ip4, app.port)
      caller.send("GET / HTTP/1.1\r\nhost: web\r\nx-user: me\r\n\r\n")
      stealing.send(answer((await stolenRequest(stealing)).connectionId, "mine"))
      await caller.until("mine")
      const killedAt = performance.now()
      target.kill("SIGKILL")
      await caller.ended
      const milliseconds = performance.now() - killedAt
      expect(await within("the agent's end", agent.ended, 30_000)).toBe(0)
      return milliseconds
    }
    // The best of three: a machine with much else to do may stand still for one. An agent that ends for another reason gives an idle
    // caller 300 ms to go on.
    const all: number[] = []
    while (all.length < 3 && !all.some((milliseconds) => milliseconds < 200)) all.push(await held())
    expect(Math.min(...all)).toBeLessThan(200)
  }, 120_000)
})
