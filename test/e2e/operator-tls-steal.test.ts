import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test"
import { customResources } from "../../config/manifests/crds.ts"
import type { DaemonMessage } from "../../core/protocol/index.ts"
import { deployment } from "../cluster/samples/workloads.ts"
import { useCluster } from "../cluster/use.ts"
import { type Certificates, makeCertificates } from "./incoming/certificates.ts"
import { answer, header, stealMatching } from "./incoming/kit.ts"
import { newSessionId, operatorClient, reader } from "./operator/client.ts"
import { useOperator } from "./operator/install.ts"

const cluster = useCluster("tls-steal")
useOperator(cluster, { agent: { idleSeconds: 1 } })
const reason = cluster.available && !Bun.which("openssl") ? "openssl is missing" : undefined
if (reason) console.warn(`SKIPPED: TLS stealing set up by the operator: ${reason}`)

const securePort = 8443
const plainPort = 8080
const filter = header("^x-user: me$")

describe.skipIf(!cluster.available || reason !== undefined)("TLS stealing set up by the operator", () => {
  let client: ReturnType<typeof operatorClient>
  let pki: Certificates
  const links: { close(): void }[] = []

  beforeAll(async () => {
    pki = makeCertificates()
    await pki.authority("authority")
    await pki.issue("app", "authority", "DNS:app.test")
    await cluster.apply(customResources.filter(({ spec }) => spec.group === "mirrord.metalbear.co"))
    await cluster.apply({
      apiVersion: "v1",
      kind: "Secret",
      metadata: { name: "tls" },
      stringData: {
        "app.pem": pki.read("app.pem"),
        "app.key": pki.read("app.key"),
        "ca.pem": pki.read("authority.pem"),
      },
    })
    const environment = { HTTPS_PORT: String(securePort), TLS_CERT: "/tls/app.pem", TLS_KEY: "/tls/app.key" }
    for (const name of ["web", "twin"]) {
      const { spec, ...rest } = deployment(name, { environment })
      const [container] = spec.template.spec.containers
      Object.assign(container!, { volumeMounts: [{ name: "tls", mountPath: "/tls" }] })
      Object.assign(spec.template.spec, { volumes: [{ name: "tls", secret: { secretName: "tls" } }] })
      await cluster.apply({ ...rest, spec })
    }
    for (const name of ["web", "twin"]) await cluster.ready(`deployment/${name}`)
    await cluster.eventually("the kind of TLS-steal configs", async () => {
      const ports = [
        {
          port: securePort,
          agentAsServer: { authentication: { certPem: "/tls/app.pem", keyPem: "/tls/app.key" } },
          agentAsClient: { verification: { trustRoots: ["/tls/ca.pem"] } },
        },
      ]
      const spec = { targetPath: "deploy/web*", selector: { matchLabels: { app: "web" } }, ports }
      await cluster.apply(
        ["a", "b"].map((name) => ({
          apiVersion: "mirrord.metalbear.co/v1alpha",
          kind: "MirrordTlsStealConfig",
          metadata: { name },
          spec,
        })),
      )
      return true
    })
    client = operatorClient(cluster.kubeconfig)
  }, 180_000)
  afterEach(() => {
    for (const link of links.splice(0)) link.close()
  })
  afterAll(() => pki?.remove())

  async function stealOf(name: string, port: number) {
    const link = await client.connect({
      namespace: cluster.namespace,
      target: `deployment.${name}`,
      sessionId: newSessionId(),
    })
    links.push(link)
    const read = reader(link)
    link.send({ kind: "SwitchProtocolVersion", value: "1.29.0" })
    await read.nextOf("SwitchProtocolVersionResponse")
    link.send(stealMatching(port, filter))
    expect((await read.nextOf("TcpSteal")).value).toMatchObject({ kind: "SubscribeResult", value: { kind: "Ok" } })
    return { link, read }
  }

  async function ask(name: string, port: number, user: string): Promise<{ status: number; text: string }> {
    const { items } = await cluster.get("pods", "-l", `app=${name}`)
    const scheme = port === securePort ? "https" : "http"
    const response = await fetch(`${scheme}://${items[0].status.podIP}:${port}/hello`, {
      headers: { "x-user": user, connection: "close" },
      signal: AbortSignal.timeout(20_000),
      tls: { ca: pki.read("authority.pem"), serverName: "app.test" } as { ca: string },
    })
    return { status: response.status, text: await response.text() }
  }
  /** Address of the caller, as the application says. */
  const seenBy = async (name: string, port: number) => {
    const { name: by, remote } = JSON.parse((await ask(name, port, "somebody")).text)
    expect(by).toBe(name)
    return String(remote).replace(/:\d+$/, "")
  }

  test("requests inside TLS are filtered and stolen, the others reach the application under their caller's address", async () => {
    const before = await seenBy("web", securePort)
    const { link, read } = await stealOf("web", securePort)
    const asked = ask("web", securePort, "me")
    let stolen: DaemonMessage = await read.nextOf("TcpSteal")
    while (stolen.kind === "TcpSteal" && stolen.value.kind !== "HttpRequestChunked")
      stolen = await read.nextOf("TcpSteal")
    if (stolen.kind !== "TcpSteal" || stolen.value.kind !== "HttpRequestChunked") throw new Error(stolen.kind)
    const start = stolen.value.value
    if (start.kind !== "StartV2") throw new Error(start.kind)
    expect(start.value.request.uri).toBe("/hello")
    expect(start.value.transport.kind).toBe("Tls")
    link.send(answer(start.value.connectionId, "from my desk"))
    expect(await asked).toEqual({ status: 200, text: "from my desk" })
    expect(await seenBy("web", securePort)).toBe(before)
  }, 120_000)

  test("its twin without such an object keeps its TLS to itself", async () => {
    const before = await seenBy("twin", securePort)
    const { read } = await stealOf("twin", securePort)
    expect(JSON.parse((await ask("twin", securePort, "me")).text).name).toBe("twin")
    expect(await seenBy("twin", securePort)).toBe(before)
    await expect(read.nextOf("TcpSteal", 500)).rejects.toThrow("no message")
  }, 120_000)

  test("without TLS, too, the application sees who calls while a filter is set", async () => {
    const before = await seenBy("twin", plainPort)
    await stealOf("twin", plainPort)
    expect(await seenBy("twin", plainPort)).toBe(before)
  }, 120_000)

  test("of two objects for one port the second is told that it has no effect", async () => {
    const event = await cluster.eventually("the event", async () => {
      const { items } = await cluster.get("events", "--field-selector", "reason=PortTaken")
      return items[0]
    })
    expect(event).toMatchObject({
      type: "Warning",
      involvedObject: { kind: "MirrordTlsStealConfig", name: "b", namespace: cluster.namespace },
      message: `port ${securePort} is described by another entry, which comes first`,
    })
  }, 60_000)

  test("an object that cannot be right is refused by the API server", async () => {
    const refused = cluster.apply({
      apiVersion: "mirrord.metalbear.co/v1alpha",
      kind: "MirrordClusterTlsStealConfig",
      metadata: { name: "bad" },
      spec: { ports: [{ port: 443, agentAsClient: { verification: {} } }] },
    })
    await expect(refused).rejects.toThrow("agentAsServer")
  }, 60_000)
})
