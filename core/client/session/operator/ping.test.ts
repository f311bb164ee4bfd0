import { expect, test } from "bun:test"
import { readFileSync, rmSync, writeFileSync } from "node:fs"
import { mkdtemp } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { kubeconfigFor } from "../../../../test/fakes/kube-server.ts"
import { openKube } from "../../../kube/kube.ts"
import { clientMessage, daemonMessage } from "../../../protocol/index.ts"
import { type Operator, operatorApi } from "./find.ts"
import { openPingSession } from "./ping.ts"

const pem = (name: string) => readFileSync(new URL(`../../../../test/cases/tls/${name}`, import.meta.url), "utf8")
const operator = {
  description: { spec: { operator_version: "3.250.0" } },
  supports: () => true,
  headers: {},
} as unknown as Operator

test("an operator that understands nothing but pings is told nothing else", async () => {
  const heard: string[] = []
  const asked: string[] = []
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    tls: { cert: pem("server.crt"), key: pem("server.key") },
    fetch(request, self) {
      asked.push(`${new URL(request.url).pathname} ${request.headers.get("x-client-der")}`)
      const headers = { "sec-websocket-protocol": "v4.channel.k8s.io" }
      return self.upgrade(request, { headers, data: undefined }) ? undefined : new Response("no", { status: 400 })
    },
    websocket: {
      message(socket, bytes) {
        const { kind } = clientMessage.decode(new Uint8Array(bytes as Buffer))
        heard.push(kind)
        if (kind === "Ping") socket.sendBinary(daemonMessage.encode({ kind: "Pong" }))
        else socket.close()
      },
    },
  })
  const folder = await mkdtemp(join(tmpdir(), "podside-ping-"))
  const kubeconfig = join(folder, "config")
  writeFileSync(kubeconfig, JSON.stringify(kubeconfigFor(`https://127.0.0.1:${server.port}`)))
  try {
    const kube = openKube({ kubeconfig })
    const session = await openPingSession(kube, operator, AbortSignal.timeout(30_000), async () => "its-der")
    expect(session.peer).toBe("operator 3.250.0")
    const answers = new Promise<string[]>((resolve) => {
      const kinds: string[] = []
      session.link.receive(({ kind }) => {
        if (kinds.push(kind) === 2) resolve(kinds)
      })
    })
    session.link.resume()
    session.link.send({ kind: "Ping" })
    session.link.send({ kind: "Ping" })
    expect(await answers).toEqual(["Pong", "Pong"])
    await session.close()
    expect(heard).toEqual(["Ping", "Ping"])
    expect(asked).toEqual([`${operatorApi}/mirrordoperators/operator/ping its-der`])
  } finally {
    await server.stop(true)
    rmSync(folder, { recursive: true })
  }
}, 60_000)
