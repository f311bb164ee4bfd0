import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { createSecureServer, type Http2SecureServer } from "node:http2"
import type { TestClient } from "../../../agent/test-agent.ts"
import type { ClientMessage, DaemonMessage, HttpFilter } from "../../../core/protocol/index.ts"
import { type AgentProcess, startAgentProcess } from "./agent-process.ts"
import { type Certificates, makeCertificates } from "./certificates.ts"
import { answer, call, data, header, steal, stealMatching, stolen, stolenRequest, subscribe } from "./kit.ts"
import { makePod, type Pod, whyNoPods } from "./pod.ts"

const reason = whyNoPods() ?? (Bun.which("openssl") && Bun.which("curl") ? undefined : "openssl or curl is missing")
if (reason) console.warn(`SKIPPED: stealing TLS end to end: ${reason}`)

const mine = ["-H", "x-user: me"]
const filter = header("^x-user: me$")

/** What an application says about a request: how it came, and with which client certificate. */
interface Answered {
  path: string
  version: string
  body: number
  certificate: string | undefined
}

describe.skipIf(reason !== undefined)("TLS that the agent ends", () => {
  let pod: Pod
  let agent: AgentProcess
  let pki: Certificates
  const servers: Http2SecureServer[] = []
  const ports: Record<string, number> = {}
  const entries: unknown[] = []

  /** An application with TLS, HTTP/1.1 and HTTP/2, whose certificate is `shown`. */
  async function application(name: string, shown = "application", asksForCertificate = false): Promise<number> {
    const server = createSecureServer(
      {
        allowHTTP1: true,
        cert: pki.read(`${shown}.pem`),
        key: pki.read(`${shown}.key`),
        ...(asksForCertificate ? { requestCert: true, rejectUnauthorized: true, ca: pki.read("authority.pem") } : {}),
      },
      (request, response) => {
        let body = 0
        request.on("data", (bytes: Uint8Array) => (body += bytes.length))
        request.on("end", () => {
          const socket = (request.stream?.session?.socket ?? request.socket) as unknown as {
            getPeerCertificate(): { subject?: { CN: string } }
          }
          const said: Answered = {
            path: request.url,
            version: request.httpVersion,
            body,
            certificate: asksForCertificate ? socket.getPeerCertificate().subject?.CN : undefined,
          }
          response.setHeader("content-type", "application/json")
          response.end(request.url.startsWith("/large") ? Buffer.alloc(8 << 20, "x") : JSON.stringify(said))
        })
      },
    )
    servers.push(server)
    const listening = Promise.withResolvers<void>()
    pod.inPod(() => server.listen(0, "0.0.0.0", listening.resolve))
    await listening.promise
    const { port } = server.address() as { port: number }
    ports[name] = port
    return port
  }

  const shownByAgent = () => ({ certPem: pki.path("agent.pem"), keyPem: pki.path("agent.key") })
  const trusting = (...names: string[]) => ({ trustRoots: names.map((name) => pki.path(`${name}.pem`)) })

  interface EntryParts {
    server?: object
    client?: object
  }

  function ends(port: number, { server = {}, client = {} }: EntryParts = {}): void {
    entries.push({
      port,
      agentAsServer: { authentication: shownByAgent(), alpnProtocols: ["h2", "http/1.1"], ...server },
      agentAsClient: { verification: trusting("authority"), ...client },
    })
  }

  beforeAll(async () => {
    pki = makeCertificates()
    await Promise.all(["authority", "stranger"].map((name) => pki.authority(name)))
    await pki.issue("application", "authority", "DNS:app.test")
    await pki.issue("agent", "authority", "DNS:app.test")
    await pki.issue("client", "authority")
    await pki.issue("foreigner", "stranger")
    await pki.issue("old", "authority", "DNS:app.test", { from: "20200101", to: "20200201" })
    pod = await makePod()
    ends(await application("usual"))
    ends(await application("http1"), { server: { alpnProtocols: [] } })
    ends(await application("asking", "application", true), {
      client: {
        authentication: { certPem: pki.path("client.pem"), keyPem: pki.path("client.key") },
        verification: trusting("authority"),
      },
    })
    ends(await application("callers"), { server: { verification: trusting("authority") } })
    ends(await application("callersOrNone"), {
      server: { verification: { ...trusting("authority"), allowAnonymous: true } },
    })
    ends(await application("anyCaller"), { server: { verification: { acceptAnyCert: true } } })
    ends(await application("carefree"), { client: { verification: { acceptAnyCert: true } } })
    // What cannot work:
    ends(await application("wrongAuthority"), { client: { verification: trusting("stranger") } })
    ends(await application("noAuthority"), { client: { verification: { trustRoots: ["/nowhere"] } } })
    ends(await application("refused", "application", true))
    ends(await application("unreadable"), {
      server: { authentication: { certPem: "/nowhere/tls.crt", keyPem: pki.path("agent.key") } },
    })
    ends(await application("expired"), {
      server: { authentication: { certPem: pki.path("old.pem"), keyPem: pki.path("old.key") } },
    })
    ends(await application("mixedUp"), {
      server: { authentication: { certPem: pki.path("agent.pem"), keyPem: pki.path("client.key") } },
    })
    const config = Buffer.from(JSON.stringify(entries)).toString("base64").replace(/=+$/, "")
    agent = await startAgentProcess(pod.pid, { MIRRORD_AGENT_STEAL_TLS_CONFIG: config })
  }, 120_000)

  afterAll(async () => {
    await agent?.stop()
    for (const server of servers) server.close()
    pod?.close()
    pki?.remove()
  }, 120_000)

  /** What curl printed on both outputs, with the certificate it was shown. */
  async function curl(name: string, paths: string[], ...options: string[]): Promise<{ out: string; shown: string }> {
    const port = ports[name]!
    const urls = paths.map((path) => `https://app.test:${port}${path}`)
    const command = [
      ...["curl", "-sv", "--max-time", "30", "--resolve", `app.test:${port}:${pod.ip4}`],
      ...["--cacert", pki.path("authority.pem"), ...urls, ...options],
    ]
    const child = pod.inCaller(() => Bun.spawn(command, { stdio: ["ignore", "pipe", "pipe"] }))
    const [out, log] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()])
    await child.exited
    return { out: out === "" ? log : out, shown: /subject: CN=(\w+)/.exec(log)?.[1] ?? "" }
  }

  async function stealing(name: string, run: (client: TestClient) => Promise<void>, version?: string): Promise<void> {
    const client = await agent.connect(version)
    expect(await subscribe(client, stealMatching(ports[name]!, filter))).toBe("Ok")
    try {
      await run(client)
    } finally {
      client.link.close()
      await client.link.ended
    }
  }

  /** The next line for the user. */
  async function logLine(client: TestClient): Promise<string> {
    for (;;) {
      const message: DaemonMessage = await client.next()
      if (message.kind === "LogMessage") return message.value.message
    }
  }

  const json = (text: string): Answered => JSON.parse(text)

  test.each([
    ["--http1.1", "1.1", "http/1.1"],
    ["--http2", "2.0", "h2"],
  ])(
    "a filter sees the requests inside (%s): claimed ones reach the client, others the application",
    async (option, version, alpn) => {
      await stealing("usual", async (client) => {
        const calling = curl("usual", ["/mine"], option, ...mine)
        const request = await stolenRequest(client)
        expect(request.transport).toEqual({
          kind: "Tls",
          value: { alpnProtocol: new Uint8Array(Buffer.from(alpn)), serverName: "app.test" },
        })
        expect(request.request.uri).toBe(version === "1.1" ? "/mine" : `https://app.test:${ports["usual"]}/mine`)
        client.send(answer(request.connectionId, "from the client"))
        expect(await calling).toEqual({ out: "from the client", shown: "agent" })
        const passed = await curl("usual", ["/a", "/b"], option, "--data", "12345")
        expect(passed.shown).toBe("agent")
        expect(passed.out).toBe(["/a", "/b"].map((path) => JSON.stringify({ path, version, body: 5 })).join(""))
      })
    },
  )

  test("claimed and unclaimed requests share one connection", async () => {
    await stealing("usual", async (client) => {
      const port = ports["usual"]!
      const resolve = ["--resolve", `app.test:${port}:${pod.ip4}`, "--cacert", pki.path("authority.pem")]
      const next = ["--next", "-sv", ...resolve, `https://app.test:${port}/second`]
      const calling = curl("usual", ["/first"], "--http1.1", ...mine, ...next)
      const request = await stolenRequest(client)
      client.send(answer(request.connectionId, "client,"))
      expect((await calling).out).toBe(`client,${JSON.stringify({ path: "/second", version: "1.1", body: 0 })}`)
    })
  })

  test("large bodies pass both ways unchanged", async () => {
    await stealing("usual", async () => {
      const file = pki.path("upload")
      await Bun.write(file, Buffer.alloc(8 << 20, "u"))
      for (const option of ["--http1.1", "--http2"]) {
        expect(json((await curl("usual", ["/up"], option, "--data-binary", `@${file}`)).out).body).toBe(8 << 20)
        expect((await curl("usual", ["/large"], option, "--limit-rate", "40M")).out.length).toBe(8 << 20)
      }
    })
  }, 120_000)

  test("without ALPN in the configuration none is agreed upon, and HTTP/1.1 is found by its bytes", async () => {
    await stealing("http1", async (client) => {
      const calling = curl("http1", ["/mine"], ...mine)
      const request = await stolenRequest(client)
      expect(request.transport).toEqual({ kind: "Tls", value: { alpnProtocol: null, serverName: "app.test" } })
      client.send(answer(request.connectionId, "from the client"))
      expect((await calling).out).toBe("from the client")
    })
  })

  test("who steals the whole port gets what is inside, and what it says goes back inside", async () => {
    const client = await agent.connect()
    expect(await subscribe(client, steal({ kind: "All", value: ports["usual"]! }))).toBe("Ok")
    const calling = curl("usual", ["/whole"], "--http1.1")
    const opened = await stolen(client)
    if (opened.kind !== "NewConnectionV2") throw new Error(opened.kind)
    expect(opened.value.transport.kind).toBe("Tls")
    const id = opened.value.connection.connectionId
    const sent = await stolen(client)
    expect(sent.kind === "Data" && Buffer.from(sent.value.bytes).toString()).toStartWith("GET /whole HTTP/1.1\r\n")
    client.send(data(id, "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nwhole"))
    client.send(data(id, ""))
    expect(await calling).toEqual({ out: "whole", shown: "agent" })
    client.link.close()
    await client.link.ended
  })

  test("a mirroring client gets copies of what is inside", async () => {
    const [whole, some] = [await agent.connect(), await agent.connect()]
    const port = ports["usual"]!
    expect(await subscribe(whole, { kind: "Tcp", value: { kind: "PortSubscribe", value: port } })).toBe("Ok")
    const value: [number, HttpFilter] = [port, filter]
    expect(await subscribe(some, { kind: "Tcp", value: { kind: "PortSubscribeFilteredHttp", value } })).toBe("Ok")
    const { out, shown } = await curl("usual", ["/seen"], "--http2", ...mine)
    expect([json(out).path, shown]).toEqual(["/seen", "agent"])
    const opened = await stolen(whole, "Tcp")
    expect(opened.kind === "NewConnectionV2" && opened.value.transport.kind).toBe("Tls")
    const first = await stolen(whole, "Tcp")
    expect(first.kind === "Data" && Buffer.from(first.value.bytes).toString()).toStartWith("PRI * HTTP/2.0")
    const copy = await stolenRequest(some, "Tcp")
    expect([copy.request.uri, copy.transport.kind]).toEqual([`https://app.test:${port}/seen`, "Tls"])
    for (const client of [whole, some]) client.link.close()
    await Promise.all([whole.link.ended, some.link.ended])
  })

  test("the application is shown the certificate the agent was given", async () => {
    await stealing("asking", async () => {
      const { out, shown } = await curl("asking", ["/"])
      expect([json(out).certificate, shown]).toEqual(["client", "agent"])
    })
  })

  const as = (name: string) => ["--cert", pki.path(`${name}.pem`), "--key", pki.path(`${name}.key`)]

  test.each([
    ["callers", "client", true],
    ["callers", "foreigner", false],
    ["callers", "nobody", false],
    ["callersOrNone", "client", true],
    ["callersOrNone", "foreigner", false],
    ["callersOrNone", "nobody", true],
    ["anyCaller", "foreigner", true],
    ["anyCaller", "nobody", false],
  ])("callers' certificates, %s: %s is let in: %p", async (name, who, isLetIn) => {
    await stealing(name, async () => {
      const { out } = await curl(name, ["/in"], ...(who === "nobody" ? [] : as(who)))
      if (isLetIn) expect(json(out).path).toBe("/in")
      else expect(out).not.toContain('"path"')
    })
  })

  test("a certificate of the application nobody vouches for is fine where any is, for whatever name", async () => {
    await stealing("carefree", async () => {
      expect(await curl("carefree", ["/"])).toMatchObject({ shown: "agent" })
      const port = ports["carefree"]!
      const other = ["-k", "--resolve", `other.test:${port}:${pod.ip4}`, `https://other.test:${port}/other`]
      const { out, shown } = await curl("carefree", [], ...other)
      expect([json(out).path, shown]).toEqual(["/other", "agent"])
    })
  })

  test.each([
    ["wrongAuthority", /UNABLE_TO_VERIFY_LEAF_SIGNATURE|unable to/],
    ["noAuthority", /no good trust root certificate was found/],
    ["unreadable", /cannot read \/nowhere\/tls.crt of the target/],
    ["expired", /the certificate in .*old.pem expired on Feb {2}1/],
    ["mixedUp", /the key in .*client.key is not that of the certificate in .*agent.pem/],
  ])(
    "with a wrong setting (%s) callers reach the application itself, and the client learns why",
    async (name, text) => {
      await stealing(name, async (client) => {
        for (const option of ["--http1.1", "--http2"]) {
          const { out, shown } = await curl(name, ["/still"], option, ...mine)
          expect([json(out).path, shown]).toEqual(["/still", "application"])
        }
        expect(await logLine(client)).toMatch(text)
      })
    },
  )

  test("where the application wants a certificate the agent has not, it is the caller that shows one", async () => {
    await stealing("refused", async (client) => {
      // Such an application makes its mind up only after the handshake: the first caller pays for that.
      for (let attempt = 0; attempt < 20; attempt++) {
        if ((await curl("refused", ["/try"], ...as("client"))).shown === "application") break
      }
      for (const path of ["/one", "/two"]) {
        const { out, shown } = await curl("refused", [path], ...as("client"))
        expect([json(out).certificate, shown]).toEqual(["client", "application"])
      }
      expect(await logLine(client)).toContain("agentAsClient.authentication")
    })
  })

  test("what is no TLS on such a port is served as on any other", async () => {
    await stealing("usual", async (client) => {
      const caller = await call(pod, pod.ip4, ports["usual"]!)
      caller.send("GET /plain HTTP/1.1\r\nHost: app\r\nX-User: me\r\n\r\n")
      const request = await stolenRequest(client)
      expect(request.transport).toEqual({ kind: "Tcp" })
      client.send(answer(request.connectionId, "from the client"))
      await caller.until("from the client")
      caller.end()
      await caller.ended
    })
  })

  test.each([
    ["h2", "the agent", "subject=CN = agent"],
    ["http/1.0", "the application, which refuses it", "no peer certificate available"],
  ])("ALPN %s, with h2 and http/1.1 configured, is answered by %s", async (name, _, shown) => {
    await stealing("usual", async () => {
      const port = ports["usual"]!
      const child = pod.inCaller(() =>
        Bun.spawn(["openssl", "s_client", "-connect", `${pod.ip4}:${port}`, "-servername", "app.test", "-alpn", name], {
          stdio: ["ignore", "pipe", "ignore"],
        }),
      )
      expect(await new Response(child.stdout).text()).toContain(shown)
    })
  })

  test("a client too old to be told about TLS gets nothing of it", async () => {
    await stealing(
      "usual",
      async (client) => {
        expect(json((await curl("usual", ["/old"], ...mine)).out).path).toBe("/old")
        expect(await logLine(client)).toContain("too old")
      },
      "1.18.0",
    )
  })

  test.each<[string, (value: number) => ClientMessage]>([
    ["steals the whole port", (value) => steal({ kind: "All", value })],
    ["mirrors it", (value) => ({ kind: "Tcp", value: { kind: "PortSubscribe", value } })],
  ])("neither does one that %s", async (_, subscription) => {
    const client = await agent.connect("1.19.3")
    expect(await subscribe(client, subscription(ports["usual"]!))).toBe("Ok")
    expect(json((await curl("usual", ["/old"])).out).path).toBe("/old")
    expect(await logLine(client)).toContain("too old")
    client.link.close()
    await client.link.ended
  })

  test("with nobody at the application's port, claimed requests are answered and others are told", async () => {
    const server = servers[Object.keys(ports).indexOf("http1")]!
    await stealing("http1", async (client) => {
      server.close()
      const calling = curl("http1", ["/mine"], ...mine)
      client.send(answer((await stolenRequest(client)).connectionId, "from the client"))
      expect((await calling).out).toBe("from the client")
      expect((await curl("http1", ["/other"])).out).toContain("the application does not answer at its port")
    })
  })
})
