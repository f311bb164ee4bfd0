import { createServer } from "node:net"
import type { Socket } from "bun"
import { Hono } from "hono"
import { startPlugins } from "../../core/host.ts"
import { askingSide, connectLink } from "../../core/link/index.ts"
import { silentLogger } from "../../core/log.ts"
import { type FrontDoorEnv, openFrontDoor } from "../../core/operator/api/front-door.ts"
import { readFrontProxy } from "../../core/operator/api/front-proxy.ts"
import { acceptClient, assertUpgradable } from "../../core/operator/api/sockets.ts"
import {
  anHourAgo,
  basicConstraints,
  dnsNames,
  extendedKeyUsage,
  issueAuthority,
  issueCertificate,
} from "../../core/operator/credentials/certificate.ts"
import { newPrivateKey, privateKeyToPem, spkiOf } from "../../core/operator/credentials/keys.ts"
import { toPem } from "../../core/operator/credentials/pem.ts"
import type { PodAgent } from "../../core/operator/session/agent-connection.ts"
import { Relay } from "../../core/operator/session/relay.ts"

/* The processes beside the client of `operator-relay.ts`: the operator's front door with relays, and what the agent dials. */

/** Sent or swallowed by the peer when it is asked for bulk. */
export const bulkBytes = Number(process.env["BULK_BYTES"] ?? 1_000_000_000)
/** What bulk is sent in. */
export const chunk = Buffer.alloc(64 << 10, 1)

export interface Setting {
  port: number
  agentPort: number
  authority: string
  serving: { cert: string; key: string }
  frontProxy: { cert: string; key: string }
  agentIdentity: { cert: string; key: string }
}

/** Bulk in the direction its first byte asks for, or an echo. */
export function servePeer(port: number): void {
  interface State {
    mode: string
    left: number
    got: number
  }
  const pour = (socket: Socket<State>) => {
    const { data } = socket
    while (data.left > 0) {
      const taken = socket.write(data.left < chunk.length ? chunk.subarray(0, data.left) : chunk)
      if (taken <= 0) return
      data.left -= taken
    }
  }
  Bun.listen<State>({
    hostname: "127.0.0.1",
    port,
    socket: {
      open(socket) {
        socket.setNoDelay(true)
        socket.data = { mode: "", left: 0, got: 0 }
      },
      data(socket, bytes) {
        const { data } = socket
        data.mode ||= String.fromCharCode(bytes[0]!)
        if (data.mode === "e") return void socket.write(bytes)
        data.got += bytes.length
        if (data.mode === "d") {
          data.left = bulkBytes
          pour(socket)
        } else if (data.got >= bulkBytes) socket.write("!")
      },
      drain: pour,
    },
    data: { mode: "", left: 0, got: 0 },
  })
  console.log("ready")
}

export async function serveOperator(setting: Setting): Promise<void> {
  const { port, agentPort, authority, serving, agentIdentity } = setting
  const proxy = readFrontProxy({ "requestheader-client-ca-file": authority })
  const plugins = await startPlugins("operator", [], { log: silentLogger })
  const connect = () =>
    connectLink(askingSide, { hostname: "127.0.0.1", port: agentPort }, { tls: { asServer: agentIdentity } })
  const agent: PodAgent = { pod: undefined, connect }
  const agents = {
    primary: () => agent,
    all: () => [agent],
    pods: () => [],
    onChange: () => () => {},
    follow: async () => {},
    close: () => {},
  }
  const relays = new Set<Relay>()
  await openFrontDoor({
    listen: [{ host: "127.0.0.1", port }],
    certificate: serving,
    frontProxy: () => proxy,
    documents: new Map(),
    app: new Hono<FrontDoorEnv>(),
    notReady: () => undefined,
    log: silentLogger,
    upgrade: async (request, socket, early, identity) => {
      assertUpgradable(request)
      const first = { agent, link: await connect() }
      const relay = new Relay({
        client: acceptClient(request, socket, early),
        first,
        session: {
          id: "1",
          openedAt: new Date(),
          identity,
          target: { kind: "deployment", name: "web" },
          namespace: "shop",
          labels: {},
          client: {},
        },
        agents,
        plugins,
        lock: async () => true,
        unlock: () => {},
        onDenied: () => {},
        onSubscribed: () => {},
        onStolen: () => {},
        onLatency: () => {},
        noPodMs: 1_000,
        log: silentLogger,
      })
      relays.add(relay)
    },
  })
  console.log("ready")
}

export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  return port
}

export function makeSetting(port: number, agentPort: number): Setting {
  const signer = newPrivateKey("ecdsa")
  const notAfter = new Date(Date.now() + 3_600_000)
  const issue = (commonName: string, use: "server" | "client", issuerKey = signer) => {
    const key = issuerKey === signer ? newPrivateKey("ecdsa") : issuerKey
    const certificate = issueCertificate({
      issuer: issuerKey === signer ? { commonName: "bench", organization: "podside" } : { commonName },
      subject: { commonName },
      spki: spkiOf(key),
      notBefore: anHourAgo(),
      notAfter,
      extensions: [basicConstraints(false), extendedKeyUsage(use), dnsNames([commonName])],
      signer: issuerKey,
    })
    return { cert: toPem(certificate, "CERTIFICATE"), key: privateKeyToPem(key) }
  }
  return {
    port,
    agentPort,
    authority: toPem(issueAuthority(signer, "bench", notAfter), "CERTIFICATE"),
    serving: issue("localhost", "server"),
    frontProxy: issue("front-proxy", "client"),
    agentIdentity: issue("podside-operator", "server", newPrivateKey("ecdsa")),
  }
}

export async function start(words: string[], env: Record<string, string> = {}) {
  const child = Bun.spawn(words, { stdout: "pipe", stderr: "inherit", env: { ...process.env, ...env } })
  await child.stdout.getReader().read()
  return child
}
