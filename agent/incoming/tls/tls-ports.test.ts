import { afterEach, beforeEach, expect, jest, test } from "bun:test"
import { constants, copyFileSync, openSync, rmSync } from "node:fs"
import { silentLogger } from "../../../core/log.ts"
import { type Certificates, makeCertificates } from "../../../test/e2e/incoming/certificates.ts"
import type { AgentContext } from "../../feature.ts"
import type { ClientChannel } from "../client-channel.ts"
import { Port } from "../port.ts"
import { TlsPorts } from "./tls-ports.ts"

const hasOpenssl = Bun.which("openssl") !== null
if (!hasOpenssl) console.warn("SKIPPED: renewed certificates: openssl is missing")

let pki: Certificates

beforeEach(async () => {
  pki = makeCertificates()
  if (!hasOpenssl) return
  await pki.authority("authority")
  await pki.issue("leaf", "authority", "DNS:app.test")
}, 120_000)

afterEach(() => {
  jest.useRealTimers()
  pki.remove()
})

function ports(config: unknown) {
  const stealTlsConfig = Buffer.from(JSON.stringify(config)).toString("base64")
  const surroundings = { rootFd: openSync(pki.folder, constants.O_DIRECTORY) }
  return new TlsPorts({ settings: { stealTlsConfig }, surroundings, log: silentLogger } as unknown as AgentContext)
}

const entry = {
  port: 443,
  agentAsServer: { authentication: { certPem: "/leaf.pem", keyPem: "/late.key" } },
  agentAsClient: { verification: { trustRoots: ["/authority.pem"] } },
}

test.skipIf(!hasOpenssl)("a file that is repaired, or renewed, is noticed half a minute later", () => {
  const port = ports([entry]).at(443)!
  jest.useFakeTimers()
  expect(port.setup()).toBeInstanceOf(Error)
  copyFileSync(pki.path("leaf.key"), pki.path("late.key"))
  jest.advanceTimersByTime(20_000)
  expect(port.setup()).toBeInstanceOf(Error)
  jest.advanceTimersByTime(11_000)
  expect(port.setup()).toMatchObject({ server: { cert: pki.read("leaf.pem").trim() } })
  rmSync(pki.path("leaf.pem"))
  jest.advanceTimersByTime(31_000)
  expect(port.setup()).toBeInstanceOf(Error)
})

test("every client of the port is told once why its TLS is not ended, and again when the reason is another", () => {
  const tls = ports([entry]).at(443)!
  const told: string[][] = [[], []]
  const [first, second] = told.map(
    (lines) => ({ client: { tell: (_: string, text: string) => lines.push(text) } }) as unknown as ClientChannel,
  )
  const port = new Port(443)
  port.stealAll(first!)
  port.mirror(second!, undefined)
  for (const reason of ["this", "this", "that"]) tls.tell(port, reason)
  const line = (reason: string) => `TLS traffic of port 443 goes to the target unseen: ${reason}`
  expect(told).toEqual([
    [line("this"), line("that")],
    [line("this"), line("that")],
  ])
})

test("a setting that cannot be read ends no TLS anywhere", () => {
  expect(ports({ port: 443 }).at(443)).toBeUndefined()
})
