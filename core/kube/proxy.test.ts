import { afterEach, expect, test } from "bun:test"
import { type AddressInfo, connect, createServer } from "node:net"
import { kubeconfigFor, startFakeKube } from "../../test/fakes/kube-server.ts"
import { openKube } from "./kube.ts"
import { openPortForward } from "./port-forward.ts"
import { proxyFromEnvironment } from "./proxy.ts"

const undo: (() => unknown)[] = []
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step()
})

const api = "https://api.example:6443"
const byAddress = "https://10.1.2.3:6443"

test.each<[server: string, env: NodeJS.ProcessEnv, proxy: string | undefined]>([
  [api, { HTTPS_PROXY: "http://p:1" }, "http://p:1"],
  [api, { https_proxy: "http://p:1", NO_PROXY: "example" }, undefined],
  [api, { https_proxy: "http://p:1", NO_PROXY: ".example, other" }, undefined],
  [api, { https_proxy: "http://p:1", NO_PROXY: "*.example" }, undefined],
  [api, { https_proxy: "http://p:1", NO_PROXY: "API.EXAMPLE" }, undefined],
  [api, { https_proxy: "http://p:1", no_proxy: "ample" }, "http://p:1"],
  [api, { https_proxy: "http://p:1", no_proxy: ".api.example" }, "http://p:1"],
  [api, { https_proxy: "http://p:1", no_proxy: "api.example:6443" }, undefined],
  [api, { https_proxy: "http://p:1", no_proxy: "api.example:443" }, "http://p:1"],
  [api, { https_proxy: "http://p:1", no_proxy: "10.0.0.0/8," }, "http://p:1"],
  [api, { HTTP_PROXY: "http://p:1" }, undefined],
  [api, { HTTPS_PROXY: "http://p:1", NO_PROXY: "*" }, undefined],
  [api, { HTTPS_PROXY: "p.example:3128" }, "http://p.example:3128"],
  [api, { HTTPS_PROXY: "socks5://p:1" }, "socks5://p:1"],
  [byAddress, { HTTPS_PROXY: "http://p:1", NO_PROXY: "10.0.0.0/8" }, undefined],
  [byAddress, { HTTPS_PROXY: "http://p:1", NO_PROXY: "10.2.0.0/16" }, "http://p:1"],
  [byAddress, { HTTPS_PROXY: "http://p:1", NO_PROXY: "10.1.2.3" }, undefined],
  [byAddress, { HTTPS_PROXY: "http://p:1", NO_PROXY: "10.1.2.3:6443" }, undefined],
  [byAddress, { HTTPS_PROXY: "http://p:1", NO_PROXY: "10.1.2.3:443" }, "http://p:1"],
  [byAddress, { HTTPS_PROXY: "http://p:1", NO_PROXY: "1.2.3" }, "http://p:1"],
  [byAddress, { HTTPS_PROXY: "http://p:1", NO_PROXY: "10.0.0.0/99, nonsense/8" }, "http://p:1"],
  ["https://[fd00::1]:6443", { HTTPS_PROXY: "http://p:1", NO_PROXY: "fd00::/8" }, undefined],
  ["https://[fd00::1]:6443", { HTTPS_PROXY: "http://p:1", NO_PROXY: "[fd00::1]:6443" }, undefined],
  ["https://[fe00::1]:6443", { HTTPS_PROXY: "http://p:1", NO_PROXY: "fd00::/8" }, "http://p:1"],
  ["https://127.0.0.1:6443", { HTTPS_PROXY: "http://p:1" }, undefined],
  ["https://[::1]:6443", { HTTPS_PROXY: "http://p:1" }, undefined],
  ["https://localhost:6443", { HTTPS_PROXY: "http://p:1" }, undefined],
])("%s with %j goes through %s", (server, env, proxy) => {
  expect(proxyFromEnvironment(server, env)).toBe(proxy)
})

/** A cluster on this machine, seen through a kubeconfig with or without `proxy-url`. */
async function cluster(proxyUrl?: string) {
  const fake = startFakeKube({ routes: { "GET /version": () => ({ gitVersion: "v1" }) } })
  const config = kubeconfigFor(fake.url)
  if (proxyUrl !== undefined) Object.assign(config.clusters[0]!.cluster, { "proxy-url": proxyUrl })
  const path = `${fake.kubeconfig}.proxied`
  await Bun.write(path, JSON.stringify(config))
  undo.push(
    () => fake.stop(),
    () => Bun.file(path).delete(),
  )
  return openKube({ kubeconfig: path })
}

function setVariable(name: string, value: string): void {
  const before = process.env[name]
  process.env[name] = value
  undo.push(() => {
    if (before === undefined) delete process.env[name]
    else process.env[name] = before
  })
}

/** An HTTP proxy, and what it was asked for. */
async function startProxy() {
  const asked: string[] = []
  const listener = createServer((socket) => {
    socket.once("data", (head) => {
      const [, host, port] = /^CONNECT (\S+):(\d+) /.exec(head.toString()) ?? []
      asked.push(`${host}:${port}`)
      const upstream = connect({ host, port: Number(port) }, () => socket.write("HTTP/1.1 200 OK\r\n\r\n"))
      upstream.on("error", () => socket.destroy())
      socket.on("error", () => upstream.destroy())
      upstream.pipe(socket).pipe(upstream)
    })
  })
  await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve))
  undo.push(() => listener.close())
  return { asked, url: `http://127.0.0.1:${(listener.address() as AddressInfo).port}` }
}

const forward = async (kube: Awaited<ReturnType<typeof cluster>>) =>
  (await openPortForward(kube, { namespace: "shop", name: "web-0", port: 1 })).close()

test("the proxy of a kubeconfig is taken whatever NO_PROXY says, for requests and forwards", async () => {
  const proxy = await startProxy()
  setVariable("NO_PROXY", "127.0.0.0/8,*")
  const kube = await cluster(proxy.url)
  const server = new URL(kube.server).host
  expect(await kube.request<object>("GET", "/version")).toEqual({ gitVersion: "v1" })
  expect(proxy.asked).toEqual([server])
  await forward(kube)
  expect(proxy.asked).toEqual([server, server])
  expect(process.env["NO_PROXY"]).toBe("127.0.0.0/8,*")
})

test("a cluster on this machine is reached without the proxy of the environment", async () => {
  const proxy = await startProxy()
  setVariable("HTTPS_PROXY", proxy.url)
  const kube = await cluster()
  expect(await kube.request<object>("GET", "/version")).toEqual({ gitVersion: "v1" })
  await forward(kube)
  expect(proxy.asked).toEqual([])
})

test("a proxy nobody answers at is named, without the login it holds", async () => {
  const kube = await cluster("http://ann:secret@127.0.0.1:1")
  const failure = expect.objectContaining({
    code: "kube-unreachable",
    message: expect.stringMatching(/ by the proxy http:\/\/127\.0\.0\.1:1 \((?!.*secret)/),
    next: expect.stringContaining("HTTPS_PROXY"),
  })
  await expect(kube.request("GET", "/version")).rejects.toEqual(failure)
  await expect(forward(kube)).rejects.toEqual(failure)
})

test("a proxy that refuses is told in its words, is left at once, and was shown the login", async () => {
  const heads: string[] = []
  const gone: Promise<void>[] = []
  const listener = createServer((socket) => {
    const { promise, resolve } = Promise.withResolvers<void>()
    gone.push(promise)
    socket.on("error", () => {}).once("close", () => resolve())
    socket.once("data", (head) => {
      heads.push(head.toString())
      socket.write("HTTP/1.1 407 Who are you?\r\n")
      socket.write("Proxy-Authenticate: Basic\r\n\r\n")
    })
  })
  await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve))
  undo.push(() => listener.close())
  const place = `127.0.0.1:${(listener.address() as AddressInfo).port}`
  const kube = await cluster(`http://ann:se%20cret@${place}`)
  await expect(forward(kube)).rejects.toMatchObject({
    code: "kube-unreachable",
    message: expect.stringContaining(`the proxy ${place} answered "HTTP/1.1 407 Who are you?"`),
  })
  await Promise.all(gone)
  const server = new URL(kube.server).host
  expect(heads).toEqual([
    `CONNECT ${server} HTTP/1.1\r\nHost: ${server}\r\nProxy-Authorization: Basic ${btoa("ann:se cret")}\r\n\r\n`,
  ])
})

test("a proxy that says nothing, or no end of it, is left when time is up", async () => {
  for (const [words, why] of [
    ["", "enough"],
    ["x".repeat(20_000), "answered"],
  ] as const) {
    const gone = Promise.withResolvers<void>()
    const listener = createServer((socket) => {
      socket.on("error", () => {}).once("close", () => gone.resolve())
      socket.once("data", () => socket.write(words))
    })
    await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve))
    undo.push(() => listener.close())
    const kube = await cluster(`http://127.0.0.1:${(listener.address() as AddressInfo).port}`)
    const attempt = new AbortController()
    const opening = openPortForward(kube, { namespace: "shop", name: "web-0", port: 1 }, attempt.signal)
    if (words === "") setTimeout(() => attempt.abort(new Error("enough")), 50)
    await expect(opening).rejects.toThrow(why)
    await gone.promise
  }
})

test.each<[string, NodeJS.ProcessEnv, string | undefined]>([
  ["http://api.example", { HTTP_PROXY: "http://p:1", HTTPS_PROXY: "http://p:2" }, "http://p:1"],
  ["https://api.example", { HTTP_PROXY: "http://p:1", HTTPS_PROXY: "http://p:2" }, "http://p:2"],
  ["http://api.example", { HTTP_PROXY: "http://p:1", NO_PROXY: "api.example:80" }, undefined],
  ["https://api.example", { HTTPS_PROXY: "http://p:1", NO_PROXY: "api.example:443" }, undefined],
  ["https://api.example", { HTTPS_PROXY: "http://p:1", NO_PROXY: "api.example:80" }, "http://p:1"],
])("of the proxies of each scheme %s with %j takes %s", (server, env, proxy) => {
  expect(proxyFromEnvironment(server, env)).toBe(proxy)
})

test("a proxy whose address cannot be read is refused", async () => {
  const kube = await cluster("http://")
  await expect(kube.request("GET", "/version")).rejects.toMatchObject({ code: "kube-config" })
})
