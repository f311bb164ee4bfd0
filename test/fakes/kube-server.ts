import { readFileSync, rmSync, writeFileSync } from "node:fs"
import { connect, type Socket } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"

const pem = (name: string) => readFileSync(new URL(`../cases/tls/${name}`, import.meta.url), "utf8")
const base64 = (name: string) => Buffer.from(pem(name)).toString("base64")

export interface SeenRequest {
  method: string
  path: string
  query: Record<string, string>
  headers: Record<string, string>
  body: unknown
}

export type Answer = Response | object | undefined
export type Route = (request: SeenRequest) => Answer | Promise<Answer>

export interface FakeKube {
  /** Path of a kubeconfig for the user `alice` with a client certificate; namespace "shop". */
  kubeconfig: string
  url: string
  requests: SeenRequest[]
  stop(): Promise<void>
}

export interface FakeKubeOptions {
  /** "GET /api/v1/namespaces/shop/pods" to its answer; a missing one is answered with 404. */
  routes?: Record<string, Route>
  /** Bytes the pod's port sends back for what it receives. Default: the same bytes. */
  forward?(bytes: Uint8Array): Uint8Array
  /** Path of a unix socket that is the pod's port, in place of `forward`. */
  forwardTo?: string
}

/** A TLS server that wants a client certificate and answers as kube-apiserver does: errors are Status objects. */
export function startFakeKube(options: FakeKubeOptions = {}): FakeKube {
  const requests: SeenRequest[] = []
  const server = Bun.serve<{ path: string; port?: Socket }>({
    hostname: "127.0.0.1",
    port: 0,
    tls: {
      cert: pem("server.crt"),
      key: pem("server.key"),
      ca: pem("ca.crt"),
      requestCert: true,
      rejectUnauthorized: true,
    },
    async fetch(request, self) {
      const url = new URL(request.url)
      const text = await request.text()
      const seen: SeenRequest = {
        method: request.method,
        path: url.pathname,
        query: Object.fromEntries(url.searchParams),
        headers: Object.fromEntries(request.headers),
        body: text ? JSON.parse(text) : undefined,
      }
      requests.push(seen)
      const answer = await options.routes?.[`${seen.method} ${seen.path}`]?.(seen)
      if (answer instanceof Response) return answer
      if (answer !== undefined) return Response.json(answer)
      if (url.pathname.endsWith("/portforward") && self.upgrade(request, { data: { path: url.pathname } }))
        return undefined
      return statusAnswer(404, "NotFound", `${seen.path} not found`)
    },
    websocket: {
      open(socket) {
        for (const channel of [0, 1]) socket.send(new Uint8Array([channel, 0x90, 0x1f]))
        if (options.forwardTo === undefined) return
        const port = connect(options.forwardTo)
        socket.data.port = port
        port.on("error", () => {})
        port.on("data", (bytes: Buffer) => void socket.send(Buffer.concat([new Uint8Array([0]), bytes])))
        port.on("close", () => socket.close())
      },
      close: (socket) => void socket.data.port?.destroy(),
      message(socket, message) {
        const bytes = typeof message === "string" ? Buffer.from(message) : new Uint8Array(message)
        if (bytes[0] !== 0) return
        if (socket.data.port) return void socket.data.port.write(bytes.subarray(1))
        const back = options.forward ? options.forward(bytes.subarray(1)) : bytes.subarray(1)
        socket.send(Buffer.concat([new Uint8Array([0]), back]))
      },
    },
  })
  const url = `https://127.0.0.1:${server.port}`
  const kubeconfig = join(tmpdir(), `podside-fake-kube-${server.port}-${process.pid}.json`)
  writeFileSync(kubeconfig, JSON.stringify(kubeconfigFor(url)))
  return {
    kubeconfig,
    url,
    requests,
    async stop() {
      rmSync(kubeconfig, { force: true })
      await server.stop(true)
    },
  }
}

export function kubeconfigFor(
  server: string,
  user: object = { "client-certificate-data": base64("client.crt"), "client-key-data": base64("client.key") },
) {
  return {
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name: "fake", cluster: { server, "certificate-authority-data": base64("ca.crt") } }],
    users: [{ name: "alice", user }],
    contexts: [{ name: "fake", context: { cluster: "fake", user: "alice", namespace: "shop" } }],
    "current-context": "fake",
  }
}

export function statusAnswer(code: number, reason: string, message: string): Response {
  return Response.json(
    { kind: "Status", apiVersion: "v1", metadata: {}, status: "Failure", message, reason, code },
    { status: code },
  )
}
