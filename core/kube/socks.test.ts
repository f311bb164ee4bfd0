import { afterAll, afterEach, beforeAll, expect, test } from "bun:test"
import { type AddressInfo, connect, createServer, type Socket } from "node:net"
import { kubeconfigFor, startFakeKube } from "../../test/fakes/kube-server.ts"
import { openKube } from "./kube.ts"
import { openPortForward } from "./port-forward.ts"
import { bridgeTo } from "./socks.ts"

let kube: ReturnType<typeof startFakeKube>
beforeAll(() => {
  kube = startFakeKube({ routes: { "GET /version": () => ({ gitVersion: "v1.34.0" }) } })
})
afterAll(() => kube.stop())

const undo: (() => unknown)[] = []
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step()
})

/** A SOCKS 5 server; `status` other than 0 refuses everybody. */
async function startSocks({ login, status = 0 }: { login?: string; status?: number } = {}) {
  const asked: string[] = []
  const serve = async (socket: Socket) => {
    socket.on("error", () => {})
    const input = socket[Symbol.asyncIterator]()
    let held = Buffer.alloc(0)
    const take = async (count: number) => {
      while (held.length < count) {
        const { value, done } = await input.next()
        if (done) throw new Error("ended")
        held = Buffer.concat([held, value])
      }
      const taken = held.subarray(0, count)
      held = held.subarray(count)
      return taken
    }
    const methods = await take((await take(2))[1]!)
    const method = login === undefined ? 0 : 2
    if (!methods.includes(method)) return void socket.end(Buffer.from([5, 0xff]))
    socket.write(Buffer.from([5, method]))
    if (login !== undefined) {
      const user = await take((await take(2))[1]!)
      const password = await take((await take(1))[0]!)
      const isRight = `${user}:${password}` === login
      socket.write(Buffer.from([1, isRight ? 0 : 1]))
      if (!isRight) return void socket.end()
    }
    const [, , , kind] = await take(4)
    const host = kind === 3 ? (await take((await take(1))[0]!)).toString() : (await take(4)).join(".")
    const port = (await take(2)).readUInt16BE()
    asked.push(`${kind === 3 ? "name" : "address"} ${host}:${port}`)
    socket.write(Buffer.from([5, status, 0, 1, 0, 0, 0, 0, 0, 0]))
    if (status !== 0) return void socket.end()
    const upstream = connect({ host: kind === 3 ? "127.0.0.1" : host, port })
    upstream.on("error", () => socket.destroy())
    socket.on("close", () => upstream.destroy())
    upstream.pipe(socket)
    if (held.length > 0) upstream.write(held)
    for (;;) {
      const { value, done } = await input.next()
      if (done) return void upstream.end()
      upstream.write(value)
    }
  }
  const listener = createServer((socket) => void serve(socket).catch(() => socket.destroy()))
  await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve))
  undo.push(() => listener.close())
  return { asked, port: (listener.address() as AddressInfo).port }
}

async function kubeThrough(proxy: string, server = kube.url) {
  const config = kubeconfigFor(server)
  Object.assign(config.clusters[0]!.cluster, { "proxy-url": proxy })
  const path = `${kube.kubeconfig}.${crypto.randomUUID()}`
  await Bun.write(path, JSON.stringify(config))
  undo.push(() => Bun.file(path).delete())
  return openKube({ kubeconfig: path })
}

async function echo(proxied: Awaited<ReturnType<typeof kubeThrough>>, text: string): Promise<string> {
  const forward = await openPortForward(proxied, { namespace: "shop", name: "web-0", port: 8080 })
  undo.push(() => forward.close())
  return new Promise((resolve, reject) => {
    forward.attach({ data: (bytes) => resolve(Buffer.from(bytes).toString()), drain() {}, closed: reject })
    forward.write(Buffer.from(text))
  })
}

test.each([
  ["without a login", undefined, ""],
  ["with a login", "ann:se cret", "ann:se%20cret@"],
])("requests and forwards reach the server through a SOCKS proxy %s", async (_, login, credentials) => {
  const socks = await startSocks({ login })
  const proxied = await kubeThrough(`socks5://${credentials}127.0.0.1:${socks.port}`)
  expect(await proxied.request<object>("GET", "/version")).toEqual({ gitVersion: "v1.34.0" })
  expect(await echo(proxied, "hello")).toBe("hello")
  expect(new Set(socks.asked)).toEqual(new Set([`address ${new URL(kube.url).host}`]))
})

test("names are left to the proxy", async () => {
  const socks = await startSocks()
  const { port } = new URL(kube.url)
  const proxied = await kubeThrough(`socks5h://127.0.0.1:${socks.port}`, `https://localhost:${port}`)
  expect(await proxied.request<object>("GET", "/version")).toEqual({ gitVersion: "v1.34.0" })
  expect(socks.asked).toEqual([`name localhost:${port}`])
})

test.each([
  ["a wrong password", { login: "ann:right" }, "ann:wrong@", "does not accept the user name or password"],
  ["a missing login", { login: "ann:right" }, "", "wants another kind of login"],
  ["a server that cannot be reached", { status: 4 }, "", "the host cannot be reached"],
])("%s is said in the proxy's own terms", async (_, options, credentials, words) => {
  const socks = await startSocks(options)
  const proxied = await kubeThrough(`socks5://${credentials}127.0.0.1:${socks.port}`)
  await expect(proxied.request("GET", "/version")).rejects.toMatchObject({ code: "kube-unreachable" })
  await expect(echo(proxied, "x")).rejects.toMatchObject({
    code: "kube-unreachable",
    message: expect.stringContaining(words),
  })
})

test.each(["socks4", "ftp"])("a proxy of the kind %s is refused with a way out", async (kind) => {
  const proxied = await kubeThrough(`${kind}://127.0.0.1:1080`)
  await expect(proxied.request("GET", "/version")).rejects.toMatchObject({
    code: "kube-config",
    message: `The proxy ${kind}:// to the cluster is of an unknown kind`,
    next: expect.stringContaining("socks5://"),
  })
})

test("nobody else can use the way through, and it leads to one server only", async () => {
  const socks = await startSocks()
  const server = new URL(kube.url).host
  const bridge = new URL(await bridgeTo(`socks5://127.0.0.1:${socks.port}`, server))
  const ask = (authority: string, login: string) =>
    new Promise<string>((resolve, reject) => {
      const socket = connect({ host: bridge.hostname, port: Number(bridge.port) })
      socket.once("data", (bytes) => {
        resolve(bytes.toString().split("\r\n")[0]!)
        socket.destroy()
      })
      socket.once("error", reject)
      socket.write(`CONNECT ${authority} HTTP/1.1\r\nProxy-Authorization: Basic ${btoa(login)}\r\n\r\n`)
    })
  const right = `${bridge.username}:${bridge.password}`
  expect(await ask(server, "podside:guess")).toContain("407")
  expect(await ask("example.com:443", right)).toContain("502")
  expect(await ask(server, right)).toContain("200")
})
