import { describe, expect, test } from "bun:test"
import { parseStealTls } from "./steal-tls-config.ts"

const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64").replace(/=+$/, "")
const authentication = { certPem: "/tls/tls.crt", keyPem: "/tls/tls.key" }

describe("MIRRORD_AGENT_STEAL_TLS_CONFIG", () => {
  test("has defaults for what is not said", () => {
    expect(parseStealTls(encode([{ port: 443, agentAsServer: { authentication }, agentAsClient: {} }]))).toEqual([
      {
        port: 443,
        agentAsServer: { authentication, alpnProtocols: [], verification: undefined as never },
        agentAsClient: { authentication: undefined as never, verification: { acceptAnyCert: false, trustRoots: [] } },
      },
    ])
  })

  test("keeps everything that is said", () => {
    const entry = {
      port: 8443,
      agentAsServer: {
        authentication,
        alpnProtocols: ["h2"],
        verification: { allowAnonymous: true, acceptAnyCert: false, trustRoots: ["/ca"] },
      },
      agentAsClient: { authentication, verification: { acceptAnyCert: true, trustRoots: ["/ca"] } },
    }
    expect(parseStealTls(encode([entry]))).toEqual([entry])
  })

  test.each([
    ["%", /base64/],
    [encode({}), /./],
    [encode([{ port: 0, agentAsServer: { authentication }, agentAsClient: {} }]), /0\.port/],
    [encode([{ port: 1, agentAsServer: {}, agentAsClient: {} }]), /agentAsServer\.authentication/],
    [Buffer.from("[").toString("base64"), /JSON/],
  ])("refuses %s and says where", (text, reason) => {
    expect(() => parseStealTls(text)).toThrow(reason)
  })
})
