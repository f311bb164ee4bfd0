import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { type AgentProcess, startAgentProcess } from "./agent-process.ts"
import { type Certificates, makeCertificates } from "./certificates.ts"
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
const programs = ["iptables-legacy", "iptables-nft"]
const backends = ["nf_tables", ...programs.filter((name) => Bun.which(name))]
for (const name of programs) if (!backends.includes(name)) console.warn(`SKIPPED: requests while ${name} changes rules`)

describe.skipIf(reason !== undefined)("requests while sessions come and go", () => {
  let pod: Pod
  let app: TestApplication

  let pki: Certificates | undefined
  let secure: { port: number; stop(): unknown }

  beforeAll(async () => {
    pod = await makePod()
    app = startApplication(pod, answerWithPath)
    if (!Bun.which("openssl")) return
    pki = makeCertificates()
    await pki.authority("authority")
    await pki.issue("app", "authority", "DNS:app.test")
    const tls = { cert: pki.read("app.pem"), key: pki.read("app.key") }
    const fetch = (asked: Request) => new Response(`app ${new URL(asked.url).pathname}`)
    const server = pod.inPod(() => Bun.serve({ hostname: "0.0.0.0", port: 0, tls, fetch }))
    secure = { port: server.port!, stop: () => server.stop(true) }
  }, 120_000)

  afterAll(async () => {
    app?.stop()
    await secure?.stop()
    pod?.close()
    pki?.remove()
  })

  /** One request on a connection of its own, with TLS if an authority is given; what went wrong, or "". */
  function ask(port = app.port, ca?: string): Promise<string> {
    const { promise, resolve } = Promise.withResolvers<string>()
    let got = ""
    pod
      .inCaller(() =>
        Bun.connect({
          hostname: pod.ip4,
          port,
          ...(ca ? { tls: { ca, serverName: "app.test", rejectUnauthorized: true } } : {}),
          socket: {
            open: (socket) => void (ca || socket.write(request)),
            handshake(socket, isGood, error) {
              if (isGood) socket.write(request)
              else resolve(`handshake: ${error?.message}`)
            },
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
  async function hammering(
    work: () => Promise<void>,
    askOnce: () => Promise<string> = ask,
  ): Promise<{ asked: number; failures: string[] }> {
    let asked = 0
    let over = false
    const failures: string[] = []
    const all = Array.from({ length: callers }, async () => {
      while (!over) {
        asked++
        const failure = await askOnce()
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

  test.each(backends)(
    "no request fails while sessions start and end, in good order or not (%s)",
    async (rules) => {
      const agent: AgentProcess = await startAgentProcess(pod.pid, { PODSIDE_AGENT_RULES: rules })
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
    },
    120_000,
  )

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

  test("callers that keep their connections lose no answer to what the application was asked when agents end", async () => {
    let answered = 0
    let over = false
    const broken: string[] = []
    /** Asks on one connection until that ends (or `over`); what was not answered at all may be asked again. */
    const askOn = () => {
      const { promise, resolve } = Promise.withResolvers<void>()
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
                got = ""
                answered++
                if (over) socket.end()
                else socket.write(request)
              },
              close() {
                if (got !== "") broken.push(got)
                resolve()
              },
              error: () => resolve(),
            },
          }),
        )
        .catch(() => resolve())
      return promise
    }
    const asked = () => app.received.reduce((sum, text) => sum + text.split("/hammer").length - 1, 0)
    const before = asked()
    const callers = Array.from({ length: 4 }, async () => {
      while (!over) await askOn()
    })
    for (let round = 0; round < 5; round++) {
      const agent = await startAgentProcess(pod.pid)
      const client = await agent.connect()
      expect(await subscribe(client, stealMatching(app.port, filter))).toBe("Ok")
      // New connections are the agent's; the callers' old ones stay where they are.
      for (let count = 0; count < 20; count++) callers.push(askOn())
      for (const seen = answered; answered < seen + 200; ) await Bun.sleep(5)
      expect(await agent.stop()).toBe(0)
    }
    over = true
    await Promise.all(callers)
    expect(broken).toEqual([])
    expect(answered).toBe(asked() - before)
  }, 120_000)

  test.skipIf(!Bun.which("openssl"))(
    "no request over TLS fails while sessions end its TLS or leave it alone",
    async () => {
      const entry = {
        port: secure.port,
        agentAsServer: { authentication: { certPem: pki!.path("app.pem"), keyPem: pki!.path("app.key") } },
        agentAsClient: { verification: { trustRoots: [pki!.path("authority.pem")] } },
      }
      const config = Buffer.from(JSON.stringify([entry]))
        .toString("base64")
        .replace(/=+$/, "")
      const authority = pki!.read("authority.pem")
      const { asked, failures } = await hammering(
        async () => {
          for (let round = 0; round < 3; round++) {
            const agent = await startAgentProcess(pod.pid, { MIRRORD_AGENT_STEAL_TLS_CONFIG: config })
            for (let session = 0; session < 10; session++) {
              const client = await agent.connect()
              expect(await subscribe(client, stealMatching(secure.port, filter))).toBe("Ok")
              await ask(secure.port, authority)
              client.link.close()
              await client.link.ended
            }
            expect(await agent.stop()).toBe(0)
          }
        },
        () => ask(secure.port, authority),
      )
      expect(failures).toEqual([])
      expect(asked).toBeGreaterThan(20)
    },
    120_000,
  )
})
