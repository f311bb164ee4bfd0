import { afterAll, beforeAll, expect, test } from "bun:test"
import { readFileSync } from "node:fs"
import { kubeconfigFor, startFakeKube, statusAnswer } from "../../test/fakes/kube-server.ts"
import { KubeError } from "./errors.ts"
import type { PortForward } from "./forward.ts"
import { openKube } from "./kube.ts"
import { openPortForward } from "./port-forward.ts"

const port = 8080
let kube: ReturnType<typeof startFakeKube>

beforeAll(() => {
  kube = startFakeKube({
    routes: {
      "GET /api/v1/namespaces/shop/pods/secret/portforward": () =>
        statusAnswer(403, "Forbidden", 'cannot create resource "pods/portforward"'),
    },
  })
})
afterAll(() => kube.stop())

/** Sends `chunks` and collects as many bytes as were sent. */
async function echo(forward: PortForward, chunks: Uint8Array[]): Promise<Buffer> {
  const wanted = chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0)
  const received: Uint8Array[] = []
  let count = 0
  let wake = () => {}
  await new Promise<void>((resolve, reject) => {
    forward.attach({
      data(bytes) {
        received.push(Buffer.from(bytes))
        if ((count += bytes.byteLength) >= wanted) resolve()
      },
      drain: () => wake(),
      closed: (error) => reject(error ?? new Error("closed")),
    })
    void (async () => {
      for (const chunk of chunks) if (!forward.write(chunk)) await new Promise<void>((ready) => (wake = ready))
    })()
  })
  return Buffer.concat(received)
}

test("bytes of every size come back unchanged through a port-forward", async () => {
  const forward = await openPortForward(openKube({ kubeconfig: kube.kubeconfig }), {
    namespace: "shop",
    name: "web-0",
    port,
  })
  const chunks = [1, 124, 125, 126, 65_534, 65_535, 65_536, 1 << 20, 3 << 20].map((size) =>
    crypto.getRandomValues(Buffer.alloc(size)).subarray(0, size),
  )
  // getRandomValues fills at most 64 KiB; the rest is given a pattern.
  for (const chunk of chunks) for (let at = 65_536; at < chunk.length; at++) chunk[at] = (at * 31) & 0xff
  const back = await echo(forward, chunks)
  expect(Bun.hash(back)).toBe(Bun.hash(Buffer.concat(chunks)))
  expect(kube.requests.at(-1)).toMatchObject({
    query: { ports: "8080" },
    headers: { "sec-websocket-protocol": "v4.channel.k8s.io" },
  })
  forward.close()
})

test("a refused port-forward says what was refused", async () => {
  const opening = openPortForward(openKube({ kubeconfig: kube.kubeconfig }), {
    namespace: "shop",
    name: "secret",
    port,
  })
  const error: KubeError = await opening.then(
    () => undefined as never,
    (thrown) => thrown,
  )
  expect(error).toBeInstanceOf(KubeError)
  expect(error.code).toBe("kube-forbidden")
  expect(error.message).toBe(
    'Cannot forward port 8080 of pod "secret" in shop: cannot create resource "pods/portforward"',
  )
})

test("a server whose certificate another authority signed is refused, and accepted when told so", async () => {
  const config = kubeconfigFor(kube.url)
  // The client's certificate is no authority for the server's.
  config.clusters[0]!.cluster["certificate-authority-data"] = readFileSync(
    new URL("../../test/cases/tls/client.crt", import.meta.url),
  ).toString("base64")
  const path = `${kube.kubeconfig}.other`
  await Bun.write(path, JSON.stringify(config))
  try {
    const open = (accept?: boolean) =>
      openPortForward(openKube({ kubeconfig: path, acceptInvalidCertificates: accept }), {
        namespace: "shop",
        name: "web-0",
        port,
      })
    await expect(open()).rejects.toMatchObject({ code: "kube-tls" })
    await expect(openKube({ kubeconfig: path }).request("GET", "/version")).rejects.toMatchObject({ code: "kube-tls" })
    const forward = await open(true)
    expect((await echo(forward, [Buffer.from("hello")])).toString()).toBe("hello")
    forward.close()
  } finally {
    await Bun.file(path).delete()
  }
})

test("a forward through an HTTP proxy asks it for the server and works", async () => {
  const asked: string[] = []
  const proxy = startProxy((authority) => asked.push(authority))
  const config = kubeconfigFor(kube.url)
  const path = `${kube.kubeconfig}.proxied`
  Object.assign(config.clusters[0]!.cluster, { "proxy-url": `http://127.0.0.1:${proxy.port}` })
  await Bun.write(path, JSON.stringify(config))
  try {
    const forward = await openPortForward(openKube({ kubeconfig: path }), { namespace: "shop", name: "web-0", port })
    expect((await echo(forward, [Buffer.from("hello")])).toString()).toBe("hello")
    expect(asked).toEqual([new URL(kube.url).host])
    forward.close()
  } finally {
    proxy.stop(true)
    await Bun.file(path).delete()
  }
})

/** A CONNECT proxy without back-pressure; enough for a few bytes. */
function startProxy(onConnect: (authority: string) => void) {
  type State = { upstream?: { write(bytes: Uint8Array): unknown; end(): unknown } }
  return Bun.listen<State>({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      open(socket) {
        socket.data = {}
      },
      data(socket, chunk) {
        if (socket.data.upstream) return void socket.data.upstream.write(chunk)
        const authority = /^CONNECT (\S+) /.exec(chunk.toString())?.[1] ?? ""
        onConnect(authority)
        const [hostname = "", to] = authority.split(":")
        void Bun.connect<undefined>({
          hostname,
          port: Number(to),
          socket: { data: (_, bytes) => void socket.write(bytes), close: () => void socket.end() },
        }).then((upstream) => {
          socket.data.upstream = upstream
          socket.write("HTTP/1.1 200 Connection established\r\n\r\n")
        })
      },
      close: (socket) => void socket.data.upstream?.end(),
    },
  })
}
