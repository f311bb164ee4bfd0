import { afterAll, beforeAll, expect, test } from "bun:test"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { connect } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { operatorTls } from "./operator-tls.ts"
import { startAgent, type TestAgent, within } from "./test-agent.ts"

/* The operator's side is played by OpenSSL through Python: it dials, and is the TLS server. */

let folder: string
let agent: TestAgent

async function makeCertificate(name: string, extensions: string[], signer?: string): Promise<void> {
  const base = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
  const files = [
    "-keyout",
    `${folder}/${name}.key`,
    "-out",
    `${folder}/${name}.pem`,
    "-days",
    "2",
    "-subj",
    `/CN=${name}`,
  ]
  const signed = signer ? ["-CA", `${folder}/${signer}.pem`, "-CAkey", `${folder}/${signer}.key`] : []
  const added = extensions.flatMap((extension) => ["-addext", extension])
  const made = Bun.spawn([...base, ...files, ...signed, ...added], { stderr: "ignore" })
  expect(await made.exited).toBe(0)
}
const pem = (name: string) => readFileSync(`${folder}/${name}.pem`, "utf8")

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "podside-tls-"))
  await makeCertificate("operator", ["subjectAltName=DNS:operator.test,DNS:second.test"])
  await makeCertificate("stranger", ["subjectAltName=DNS:operator.test"])
  await makeCertificate("renamed", ["subjectAltName=DNS:other.test", "basicConstraints=critical,CA:FALSE"], "operator")
  await makeCertificate("nameless", [])
  await makeCertificate("numbered", ["subjectAltName=IP:10.0.0.1"])
  agent = await startAgent(["targetless"], { operatorCertificate: pem("operator"), requireTls: true })
})
afterAll(async () => {
  await agent.stop()
  rmSync(folder, { recursive: true })
})

/** Dials, shakes hands as TLS server with a certificate, sends a `Ping`; what came back in hex, or the error. */
async function dialAs(name: string): Promise<string> {
  const script = `
import socket, ssl, sys
path, cert, key = sys.argv[1:]
plain = socket.socket(socket.AF_UNIX); plain.settimeout(5); plain.connect(path)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER); context.load_cert_chain(cert, key)
try:
    secured = context.wrap_socket(plain, server_side=True)
    secured.sendall(bytes([7]))
    print(secured.recv(10).hex() or "closed")
except (ssl.SSLError, OSError) as error:
    print("refused")
`
  const operator = Bun.spawn(
    ["python3", "-c", script, agent.socketPath, `${folder}/${name}.pem`, `${folder}/${name}.key`],
    {
      stdout: "pipe",
    },
  )
  return (await new Response(operator.stdout).text()).trim()
}

const pong = "07"

test("the operator with the certificate is served", async () => {
  expect(await dialAs("operator")).toBe(pong)
})

test.each([
  ["another certificate with the same name", "stranger"],
  ["a certificate signed by the right one, with another name", "renamed"],
])("an operator with %s is refused", async (_, name) => {
  expect(["refused", "closed"]).toContain(await dialAs(name))
})

test("a client without TLS gets no answer, and the next operator is served", async () => {
  const plain = connect(agent.socketPath)
  const received: Buffer[] = []
  plain.on("data", (data: Buffer) => received.push(data))
  plain.write(Buffer.alloc(64, 7))
  await within("the end of the connection", new Promise((resolve) => plain.on("close", resolve)))
  // Only the start of a TLS handshake (record type 22), never a Pong.
  expect(Buffer.concat(received)[0] ?? 22).toBe(22)
  expect(await dialAs("operator")).toBe(pong)
})

test("a client that asks by HTTP in the clear is no exception", async () => {
  const plain = connect(agent.socketPath)
  const received: Buffer[] = []
  plain.on("data", (data: Buffer) => received.push(data))
  plain.write("GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: podside-agent\r\n\r\n")
  await within("the end of the connection", new Promise((resolve) => plain.on("close", resolve)))
  expect(Buffer.concat(received).toString("latin1")).not.toContain("HTTP/1.1")
  expect(await dialAs("operator")).toBe(pong)
})

test("somebody who connects and says nothing is hung up on after ten seconds", async () => {
  const silent = connect(agent.socketPath)
  const started = performance.now()
  await within("the end of the connection", new Promise((resolve) => silent.on("close", resolve).resume()))
  expect(performance.now() - started).toBeWithin(9000, 14_000)
}, 30_000)

test("thousands who connect and say nothing keep the operator waiting for a moment only", async () => {
  const script = `const { connect } = require("net")
    let open = 0
    for (let index = 0; index < 3000; index++)
      connect(process.argv[1]).on("error", () => {}).on("connect", () => ++open === 3000 && console.log("all"))`
  const silent = Bun.spawn(["node", "-e", script, agent.socketPath], { stdout: "pipe" })
  await silent.stdout.getReader().read()
  const started = performance.now()
  expect(await dialAs("operator")).toBe(pong)
  // A thousand at once have a second each while others wait.
  expect(performance.now() - started).toBeLessThan(9000)
  silent.kill()
})

test("the expected name is the first alternative one, DNS or address", () => {
  expect(operatorTls(pem("operator")).serverName).toBe("operator.test")
  expect(operatorTls(pem("numbered")).serverName).toBe("10.0.0.1")
})

test("a certificate that cannot serve stops the agent at its start, with a reason", async () => {
  const start = (operatorCertificate: string | undefined) =>
    startAgent(["targetless"], { operatorCertificate, requireTls: true })
  await expect(start("no PEM")).rejects.toThrow("holds no certificate")
  await expect(start(pem("nameless"))).rejects.toThrow("no alternative name")
  await expect(start(undefined)).rejects.toThrow("must speak TLS only")
})
