import { afterEach, describe, expect, test } from "bun:test"
import { type AddressInfo, createServer, type Socket } from "node:net"
import { KubeConfig } from "@kubernetes/client-node"
import { kubeOf } from "./kube.ts"
import { openPodTunnel } from "./pod-tunnel.ts"
import { openUpgrade } from "./upgrade.ts"

const undo: (() => void)[] = []
afterEach(() => {
  for (const step of undo.splice(0)) step()
})

/** A server that does `act` with every request, the head of the last one, and what becomes of its first connection. */
async function serve(act: (socket: Socket) => void) {
  const gone = Promise.withResolvers<void>()
  const seen = { head: "" }
  const server = createServer((socket) => {
    socket.on("error", () => {})
    socket.once("close", () => gone.resolve())
    socket.once("data", (head) => {
      seen.head = head.toString()
      act(socket)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  undo.push(() => server.close())
  const { port } = server.address() as AddressInfo
  const open = (more: { headers?: Record<string, string>; timeoutMs?: number; signal?: AbortSignal } = {}) =>
    openUpgrade({ url: `http://127.0.0.1:${port}/gate`, headers: { Authorization: "Bearer t" } }, "/x?y=z", {
      headers: { Upgrade: "podside" },
      timeoutMs: 5_000,
      what: "reach it",
      ...more,
    })
  return { open, seen, port, gone: gone.promise }
}

/** Sends the pieces one after the other, each in a packet of its own. */
const inPieces =
  (...pieces: string[]) =>
  async (socket: Socket) => {
    socket.setNoDelay(true)
    for (const piece of pieces) {
      socket.write(piece)
      await Bun.sleep(5)
    }
  }

test("an upgrade is asked for with the login, and what comes with the answer is not lost", async () => {
  const { open, seen, port } = await serve(inPieces("HTTP/1.1 101 Switch", "ing\r\nUpgrade: podside\r\n\r\nfirst"))
  const { socket, headers, rest } = await open()
  expect(headers.get("upgrade")).toBe("podside")
  expect(Buffer.from(rest).toString()).toBe("first")
  const [request, ...lines] = seen.head.trimEnd().split("\r\n")
  expect(request).toBe("GET /gate/x?y=z HTTP/1.1")
  expect(lines.sort()).toEqual([
    "Authorization: Bearer t",
    "Connection: Upgrade",
    `Host: 127.0.0.1:${port}`,
    "Upgrade: podside",
  ])
  socket.abort()
})

test.each([
  ["at once", 10],
  ["slowly", 8 << 20],
])("what was written before the end arrives, taken %s, and the end after it", async (_, length) => {
  const received = Promise.withResolvers<string>()
  const { open, gone } = await serve((socket) => {
    socket.write("HTTP/1.1 101 S\r\n\r\n")
    const hash = new Bun.CryptoHasher("md5")
    socket.on("data", (bytes) => {
      hash.update(bytes)
      socket.pause()
      setTimeout(() => socket.resume(), 1)
    })
    socket.on("end", () => received.resolve(hash.digest("hex")))
  })
  const { socket } = await open()
  const bytes = Buffer.alloc(length, "podside ")
  const half = length >> 1
  socket.write(bytes.subarray(0, half))
  const lent = Buffer.from(bytes.subarray(half))
  socket.writeCopy(lent)
  lent.fill(0)
  socket.end()
  socket.write(Buffer.from("too late"))
  expect(await received.promise).toBe(new Bun.CryptoHasher("md5").update(bytes).digest("hex"))
  await gone
})

const status = JSON.stringify({ kind: "Status", message: "not for you: ünïcödé" })
const half = status.length - 6
const [one, two] = [status.slice(0, half), status.slice(half)]
const chunk = (text: string) => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`

test.each<[string, string[]]>([
  ["by its length", [`Content-Length: ${Buffer.byteLength(status)}\r\n\r\n${one}`, two]],
  ["in chunks", [`Transfer-Encoding: chunked\r\n\r\n${chunk(one)}`, chunk(two), "0\r\n\r\n"]],
])("a refusal is told in the server's words, which end %s, and nothing stays open", async (_, pieces) => {
  const [first = "", ...more] = pieces
  const { open, gone } = await serve(inPieces(`HTTP/1.1 403 Forbidden\r\nRetry-After: 7\r\n${first}`, ...more))
  await expect(open()).rejects.toMatchObject({
    code: "kube-forbidden",
    status: 403,
    retryAfterSeconds: 7,
    message: "Cannot reach it: not for you: ünïcödé",
  })
  await gone
})

test("a refusal without a length ends with the connection", async () => {
  const { open } = await serve((socket) => socket.end(`HTTP/1.1 503 Unavailable\r\n\r\n${status}`))
  await expect(open()).rejects.toMatchObject({ status: 503, message: "Cannot reach it: not for you: ünïcödé" })
})

describe("what is no answer is an error, and nothing stays open:", () => {
  test("one that is given up before there is a connection leaves none behind", async () => {
    const { open, gone } = await serve(() => {})
    const stop = new AbortController()
    const opening = open({ signal: stop.signal })
    stop.abort(new Error("enough"))
    await expect(opening).rejects.toThrow("enough")
    await gone
  })

  test.each<[string, (socket: Socket) => void, string]>([
    ["another protocol", (socket) => socket.write("SSH-2.0-x\r\n\r\n"), "not HTTP"],
    ["an end before the answer", (socket) => socket.end(), "127.0.0.1"],
    ["an end inside the answer", (socket) => socket.end("HTTP/1.1 101 Switching\r\n"), "not HTTP"],
    ["a head of more than 64 KiB", (socket) => socket.write(`HTTP/1.1 101 S\r\nA: ${"a".repeat(80_000)}`), "not HTTP"],
  ])("%s", async (_, act, words) => {
    const { open, gone } = await serve(act)
    await expect(open()).rejects.toMatchObject({
      code: "kube-unreachable",
      message: expect.stringContaining(words),
    })
    await gone
  })

  test("silence", async () => {
    const { open, gone } = await serve(() => {})
    await expect(open({ timeoutMs: 50 })).rejects.toMatchObject({ code: "kube-unreachable" })
    await gone
  })

  test("whoever gives up is given his own reason", async () => {
    const attempt = new AbortController()
    const { open, gone } = await serve(() => attempt.abort(new Error("changed my mind")))
    await expect(open({ signal: attempt.signal })).rejects.toThrow("changed my mind")
    await gone
  })
})

test.each([
  ["a name", { "X-A\r\nX-B": "1" }],
  ["a value", { "X-A": "1\r\nX-B: 2" }],
])("%s of a header that would make a second one is not sent", async (_, headers) => {
  const { open, seen } = await serve(() => {})
  await expect(open({ headers: headers as Record<string, string> })).rejects.toThrow("line break")
  expect(seen.head).toBe("")
})

describe("a way to a port of a pod", () => {
  const pod = { namespace: "shop", name: "web-0", port: 8080 }
  const ask = async (answer: string) => {
    const served = await serve((socket) => socket.write(answer))
    const config = new KubeConfig()
    config.loadFromOptions({
      clusters: [{ name: "c", server: `http://127.0.0.1:${served.port}`, skipTLSVerify: true }],
      users: [{ name: "u" }],
      contexts: [{ name: "c", cluster: "c", user: "u" }],
      currentContext: "c",
    })
    const open = () => openPodTunnel(kubeOf({ config }), pod, { headers: { Upgrade: "podside" }, timeoutMs: 5_000 })
    return { ...served, open }
  }

  test("is an upgrade through the pod's proxy", async () => {
    const { open, seen } = await ask("HTTP/1.1 101 S\r\nUpgrade: podside\r\n\r\n")
    const { socket } = await open()
    expect(seen.head).toStartWith("GET /api/v1/namespaces/shop/pods/web-0:8080/proxy/ HTTP/1.1\r\n")
    socket.abort()
  })

  test("that is one to something else is refused and left", async () => {
    const { open, gone } = await ask("HTTP/1.1 101 S\r\nUpgrade: websocket\r\n\r\n")
    await expect(open()).rejects.toMatchObject({
      code: "kube-bad-answer",
      message: expect.stringContaining('port 8080 of pod "web-0" in shop'),
    })
    await gone
  })
})
