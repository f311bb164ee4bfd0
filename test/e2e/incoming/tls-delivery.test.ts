import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { createSecureServer, type Http2SecureServer } from "node:http2"
import { within } from "../../../agent/test-agent.ts"
import { podsideBinary } from "../../binary.ts"
import { type AgentProcess, startAgentProcess } from "./agent-process.ts"
import { type Certificates, makeCertificates } from "./certificates.ts"
import { makePod, type Pod, whyNoPods } from "./pod.ts"

const missing = ["openssl", "curl", "node"].find((name) => !Bun.which(name))
const reason = whyNoPods() ?? (missing && `the program ${missing} is missing`)
if (reason) console.warn(`SKIPPED: delivery of stolen TLS traffic: ${reason}`)

const limitMs = 120_000

/** What the program says about a request it was given. */
interface Given {
  path: string
  version: string
  serverName: string | false | undefined
  alpn: string | false | undefined
  caller: string
}

/** A server, with TLS when it is given a certificate, that answers with what it knows of the request. */
const program = `
const [, port, cert, key] = process.argv
const fs = require("fs")
const answer = (q, r) => {
  const socket = q.stream?.session?.socket ?? q.socket
  r.end(JSON.stringify({ path: q.url, version: q.httpVersion, serverName: socket.servername, alpn: socket.alpnProtocol, caller: socket.remoteAddress }))
}
const server = cert
  ? require("http2").createSecureServer({ allowHTTP1: true, cert: fs.readFileSync(cert), key: fs.readFileSync(key) }, answer)
  : require("http").createServer(answer)
server.listen(Number(port), () => console.log("listening"))
`

describe.skipIf(reason !== undefined)("traffic whose TLS the agent ended, delivered to a program", () => {
  let pod: Pod
  let agent: AgentProcess
  let pki: Certificates
  let binary: string
  let application: Http2SecureServer
  let port: number

  beforeAll(async () => {
    pki = makeCertificates()
    await Promise.all(["authority", "desk"].map((name) => pki.authority(name)))
    await pki.issue("application", "authority", "DNS:app.test")
    await pki.issue("program", "desk", "DNS:program.test")
    pod = await makePod()
    const pair = { cert: pki.read("application.pem"), key: pki.read("application.key") }
    application = createSecureServer({ allowHTTP1: true, ...pair }, (_, response) => response.end("the application"))
    const listening = Promise.withResolvers<void>()
    pod.inPod(() => application.listen(0, "0.0.0.0", listening.resolve))
    await listening.promise
    port = (application.address() as { port: number }).port
    const entry = {
      port,
      agentAsServer: {
        authentication: { certPem: pki.path("application.pem"), keyPem: pki.path("application.key") },
        alpnProtocols: ["h2", "http/1.1"],
      },
      agentAsClient: { verification: { trustRoots: [pki.path("authority.pem")] } },
    }
    const config = Buffer.from(JSON.stringify([entry]))
      .toString("base64")
      .replace(/=+$/, "")
    agent = await startAgentProcess(pod.pid, { MIRRORD_AGENT_STEAL_TLS_CONFIG: config })
    binary = await podsideBinary()
  }, limitMs)

  afterAll(async () => {
    await agent?.stop()
    application?.close()
    pod?.close()
    pki?.remove()
  }, 120_000)

  async function curl(...options: string[]): Promise<string> {
    const trust = ["--resolve", `app.test:${port}:${pod.ip4}`, "--cacert", pki.path("authority.pem")]
    const command = ["curl", "-sS", "--max-time", "30", ...trust, ...options, `https://app.test:${port}/path`]
    const child = pod.inCaller(() => Bun.spawn(command, { stdio: ["ignore", "pipe", "inherit"] }))
    return new Response(child.stdout).text()
  }

  /** The program in a session with `incoming` settings, for the length of `run`. */
  async function session(incoming: object, isSecure: boolean, run: () => Promise<void>): Promise<void> {
    const file = pki.path("config.json")
    await Bun.write(file, JSON.stringify({ feature: { network: { incoming: { mode: "steal", ...incoming } } } }))
    const certificate = isSecure ? [pki.path("program.pem"), pki.path("program.key")] : []
    const options = ["-f", file, "--agent-address", `unix:${agent.socketPath}`, "--target", "pod/any"]
    const command = [binary, "exec", ...options, "--", "node", "-e", program, `${port}`, ...certificate]
    const child = Bun.spawn(command, { stdio: ["ignore", "pipe", "pipe"], env: { PATH: process.env["PATH"] ?? "" } })
    const complaints = new Response(child.stderr).text()
    try {
      const first = await within("the program", child.stdout.getReader().read(), 30_000)
      if (first.done) throw new Error(await complaints)
      await run()
    } finally {
      child.kill("SIGTERM")
      await child.exited
    }
  }

  const filtered = { http_filter: { header_filter: "^x-user: me$" } }
  const mine = ["-H", "x-user: me"]
  const given = (text: string): Given => JSON.parse(text)

  test(
    "goes by TLS, with the caller's protocol and name and any certificate, when nothing is set",
    async () => {
      await session(filtered, true, async () => {
        const common = { path: "/path", serverName: "app.test", caller: "::ffff:10.77.0.1" }
        expect(given(await curl("--http1.1", ...mine))).toEqual({ ...common, version: "1.1", alpn: "http/1.1" })
        expect(given(await curl("--http2", ...mine))).toEqual({ ...common, version: "2.0", alpn: "h2" })
        expect(await curl()).toBe("the application")
      })
    },
    limitMs,
  )

  test(
    "whole connections go by TLS as well",
    async () => {
      await session({}, true, async () => {
        for (const [option, version] of [
          ["--http1.1", "1.1"],
          ["--http2", "2.0"],
        ] as const) {
          const { caller, serverName, ...rest } = given(await curl(option))
          expect([caller, serverName, rest.version]).toEqual(["::ffff:10.77.0.1", "app.test", version])
        }
      })
    },
    limitMs,
  )

  test(
    "goes without TLS where tls_delivery says so, by its old name as well",
    async () => {
      for (const name of ["tls_delivery", "https_delivery"]) {
        await session({ ...filtered, [name]: { protocol: "tcp" } }, false, async () => {
          expect(given(await curl("--http1.1", ...mine))).toMatchObject({ path: "/path", version: "1.1" })
        })
      }
    },
    limitMs,
  )

  test(
    "a program's certificate is checked against trust_roots and the configured name",
    async () => {
      const delivery = (root: string, name: string) => ({
        tls_delivery: { protocol: "tls", trust_roots: [pki.path(root)], server_name: name },
      })
      await session({ ...filtered, ...delivery("desk.pem", "program.test") }, true, async () => {
        for (const option of ["--http1.1", "--http2"]) {
          expect(given(await curl(option, ...mine)).serverName).toBe("program.test")
        }
      })
      for (const wrong of [delivery("authority.pem", "program.test"), delivery("desk.pem", "other.test")]) {
        await session({ ...filtered, ...wrong }, true, async () => {
          for (const option of ["--http1.1", "--http2"]) {
            expect(await curl(option, ...mine, "-w", "%{http_code}")).toMatch(/certificate.*502$|altname.*502$/is)
          }
          expect(await curl()).toBe("the application")
        })
      }
    },
    limitMs,
  )

  test(
    "a program must show exactly the certificate of server_cert",
    async () => {
      const delivery = (name: string) => ({ tls_delivery: { protocol: "tls", server_cert: pki.path(name) } })
      await session({ ...filtered, ...delivery("program.pem") }, true, async () => {
        for (const option of ["--http1.1", "--http2"]) {
          expect(given(await curl(option, ...mine)).serverName).toBe("program.test")
        }
      })
      await session({ ...filtered, ...delivery("application.pem") }, true, async () => {
        for (const option of ["--http1.1", "--http2"]) {
          expect(await curl(option, ...mine, "-w", "%{http_code}")).toMatch(/server_cert\n?.*502$/s)
        }
      })
    },
    limitMs,
  )
})
