import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { type AgentProcess, startAgentProcess } from "./agent-process.ts"
import {
  answerWithPath,
  header,
  startApplication,
  steal,
  stealMatching,
  subscribe,
  type TestApplication,
} from "./kit.ts"
import { makePod, type Pod, whyNoPods } from "./pod.ts"

const reason = whyNoPods()
if (reason) console.warn(`SKIPPED: requests while sessions come and go: ${reason}`)

const request = "GET /hammer HTTP/1.1\r\nHost: app\r\n\r\n"
const callers = 8

describe.skipIf(reason !== undefined)("requests while sessions come and go", () => {
  let pod: Pod
  let app: TestApplication

  beforeAll(async () => {
    pod = await makePod()
    app = startApplication(pod, answerWithPath)
  }, 120_000)

  afterAll(() => {
    app?.stop()
    pod?.close()
  })

  /** One request on a connection of its own; what went wrong, or "". */
  function ask(): Promise<string> {
    const { promise, resolve } = Promise.withResolvers<string>()
    let got = ""
    pod
      .inCaller(() =>
        Bun.connect({
          hostname: pod.ip4,
          port: app.port,
          socket: {
            open: (socket) => void socket.write(request),
            data(socket, bytes) {
              got += bytes.toString()
              if (!got.endsWith("app /hammer")) return
              resolve("")
              socket.end()
            },
            close: (_, error) => resolve(`closed after "${got}" ${error?.message ?? ""}`),
            error: (_, error) => resolve(error.message),
          },
        }),
      )
      .catch((error: Error) => resolve(`not connected: ${error.message}`))
    return promise
  }

  /** Asks on and on, from several callers at once, until `work` is over. */
  async function hammering(work: () => Promise<void>): Promise<{ asked: number; failures: string[] }> {
    let asked = 0
    let over = false
    const failures: string[] = []
    const all = Array.from({ length: callers }, async () => {
      while (!over) {
        asked++
        const failure = await ask()
        if (failure) failures.push(failure)
      }
    })
    try {
      await work()
    } finally {
      over = true
      await Promise.all(all)
    }
    return { asked, failures }
  }

  const filter = header("^x-user: nobody$")

  test("no request fails while sessions start and end, in good order or not", async () => {
    const agent: AgentProcess = await startAgentProcess(pod.pid)
    const { asked, failures } = await hammering(async () => {
      for (let round = 0; round < 20; round++) {
        const client = await agent.connect()
        expect(await subscribe(client, stealMatching(app.port, filter))).toBe("Ok")
        const other = await agent.connect()
        expect(await subscribe(other, steal({ kind: "All", value: app.port + 1 }))).toBe("Ok")
        if (round % 2) client.link.close()
        else client.link.abort()
        other.link.close()
        await Promise.all([client.link.ended, other.link.ended])
      }
    })
    await agent.stop()
    expect(failures).toEqual([])
    expect(asked).toBeGreaterThan(20)
  }, 120_000)

  test("no request fails while agents end, told to or because their last client left", async () => {
    const { asked, failures } = await hammering(async () => {
      for (let round = 0; round < 6; round++) {
        const agent = await startAgentProcess(pod.pid, round % 2 ? { MIRRORD_AGENT_IDLE_TTL: "0" } : {})
        const client = await agent.connect()
        expect(await subscribe(client, stealMatching(app.port, filter))).toBe("Ok")
        await ask()
        if (round % 2) {
          client.link.close()
          expect(await agent.ended).toBe(0)
        } else expect(await agent.stop()).toBe(0)
      }
    })
    expect(failures).toEqual([])
    expect(asked).toBeGreaterThan(20)
  }, 120_000)
})
