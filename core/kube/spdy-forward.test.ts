import { afterEach, expect, test } from "bun:test"
import { type FakeSpdy, startFakeSpdy } from "../../test/fakes/spdy-server.ts"
import type { PortForward } from "./forward.ts"
import { openKube } from "./kube.ts"
import { openPortForward } from "./port-forward.ts"
import { SpdyReader } from "./spdy-frames.ts"

const pod = { namespace: "shop", name: "web-0", port: 8080 }
const undo: (() => void)[] = []
afterEach(() => {
  for (const step of undo.splice(0).reverse()) step()
})

function fake(on: Parameters<typeof startFakeSpdy>[0]): FakeSpdy {
  const server = startFakeSpdy(on)
  undo.push(() => server.stop())
  return server
}

async function open(server: FakeSpdy): Promise<PortForward> {
  const forward = await openPortForward(openKube({ kubeconfig: server.kubeconfig }), pod)
  undo.push(() => forward.close())
  return forward
}

/** Everything a forward says: its bytes, and how it ended. */
function listen(forward: PortForward) {
  const received: Buffer[] = []
  const closed = Promise.withResolvers<Error | undefined>()
  let bytes = 0
  let wake = () => {}
  forward.attach({
    data(piece) {
      received.push(Buffer.from(piece))
      bytes += piece.byteLength
      wake()
    },
    drain: () => wake(),
    closed: (error) => {
      closed.resolve(error)
      wake()
    },
  })
  return {
    closed: closed.promise,
    all: () => Buffer.concat(received),
    async until(met: () => boolean) {
      while (!met()) await new Promise<void>((resolve) => (wake = resolve))
    },
    get bytes() {
      return bytes
    },
  }
}

test("bytes of every size come back unchanged, and the streams are asked for as the container runtime wants them", async () => {
  const server = fake({ data: (bytes, port) => port.send(3, bytes) })
  const forward = await open(server)
  const heard = listen(forward)
  const sizes = [1, 7, 8, 65_535, 131_072, 131_073, 1 << 20, 20 << 20]
  const chunks = sizes.map((size, seed) => Buffer.alloc(size, `${seed}-of-these-`))
  for (const chunk of chunks) {
    const before = heard.bytes
    forward.write(chunk.subarray(0, 5), chunk.subarray(5))
    await heard.until(() => heard.bytes === before + chunk.length && forward.writable)
  }
  expect(Bun.hash(heard.all())).toBe(Bun.hash(Buffer.concat(chunks)))
  // The WebSocket comes first, and is refused.
  expect(server.seen[1]).toContain("GET /api/v1/namespaces/shop/pods/web-0/portforward HTTP/1.1")
  expect(server.seen[1]).toContain("X-Stream-Protocol-Version: portforward.k8s.io")
  expect(server.seen.slice(2)).toEqual([
    "syn 1 fin streamtype=error port=8080 requestid=0",
    "syn 3 streamtype=data port=8080 requestid=0",
  ])
})

test("a writer that does not wait is told to, and nothing is lost when it goes on", async () => {
  let got = 0
  const server = fake({ data: (bytes) => void (got += bytes.length) })
  const forward = await open(server)
  const heard = listen(forward)
  const piece = Buffer.alloc(256 << 10)
  let sent = 0
  let waited = 0
  for (let count = 0; count < 200; count++) {
    sent += piece.length
    // The buffer is changed at once: a forward must have copied what it keeps.
    piece.fill(count)
    if (forward.write(piece)) continue
    waited++
    await heard.until(() => forward.writable)
  }
  while (got < sent) await Bun.sleep(5)
  expect(got).toBe(sent)
  expect(waited).toBeGreaterThan(0)
})

test("a port nobody listens on is told to whoever attaches, however late", async () => {
  const server = fake({
    opened(port) {
      port.send(1, Buffer.from("error forwarding port 8080: connection refused"), true)
      port.send(3, new Uint8Array(0), true)
    },
  })
  const forward = await open(server)
  await Bun.sleep(50)
  const error = await listen(forward).closed
  expect(error?.message).toContain("connection refused")
  expect(error?.message).toContain('forward port 8080 of pod "web-0" in shop')
})

test("data that comes with the reply waits for a reader, and the end of the stream comes after it", async () => {
  const server = fake({
    opened(port) {
      port.send(3, Buffer.from("hello "))
      port.send(3, Buffer.from("there"), true)
    },
  })
  const heard = listen(await open(server))
  expect((await heard.closed)?.message).toContain("closed the forward")
  expect(heard.all().toString()).toBe("hello there")
})

test("the server's pings are answered, and what SPDY has besides is passed over", async () => {
  const server = fake({
    opened(port) {
      // SETTINGS, WINDOW_UPDATE, PING 2
      port.raw(Buffer.from("8003000400000004" + "00000000" + "8003000900000008" + "0000000300001000", "hex"))
      port.raw(Buffer.from("8003000600000004" + "00000002", "hex"))
      port.send(3, Buffer.from("after"))
    },
  })
  const heard = listen(await open(server))
  await heard.until(() => heard.bytes === 5)
  while (!server.seen.includes("ping 2")) await Bun.sleep(5)
  expect(heard.all().toString()).toBe("after")
})

test.each([
  ["a reset", "8003000300000008" + "00000003" + "00000001", "reset"],
  ["a goodbye", "8003000700000008" + "00000003" + "00000000", "ended the forward"],
  ["another protocol", Buffer.from("\x81\x7eno such thing").toString("hex"), "SPDY"],
])("%s ends the forward with its reason", async (_, hex, words) => {
  const server = fake({ opened: (port) => port.raw(Buffer.from(hex, "hex")) })
  const error = await listen(await open(server)).closed
  expect(error?.message).toContain(words)
})

test.each([
  ["garbage", "\x81\x7eno such thing"],
  ["a goodbye", Buffer.from("8003000700000008" + "00000000" + "00000001", "hex").toString("latin1")],
])("%s in place of the streams leaves the answer to the WebSocket", async (_, answer) => {
  const server = fake({ asked: (port) => port.raw(Buffer.from(answer, "latin1")) })
  await expect(open(server)).rejects.toMatchObject({ status: 400 })
  expect(server.seen.filter((head) => head.startsWith("GET"))).toEqual([
    expect.stringContaining("Upgrade: websocket"),
    expect.stringContaining("Upgrade: SPDY/3.1"),
  ])
})

test.each([1, 3, 8, 13, 1000])("frames read the same in pieces of %d bytes", (size) => {
  const bytes = Buffer.concat([
    Buffer.from("8003000200000004" + "00000003", "hex"),
    Buffer.from("0000000300000005", "hex"),
    Buffer.from("hello"),
    Buffer.from("8003000700000008" + "00000001" + "00000002", "hex"),
    Buffer.from("0000000301000000", "hex"),
    Buffer.from("0000000101000003", "hex"),
    Buffer.from("bad"),
  ])
  const told: string[] = []
  const text = { 1: "", 3: "" } as Record<number, string>
  const reader = new SpdyReader({
    data(streamId, piece, fin) {
      text[streamId] += Buffer.from(piece).toString()
      if (fin) told.push(`fin ${streamId}`)
    },
    control: (type, first, second) => told.push(`control ${type} ${first} ${second}`),
  })
  for (let at = 0; at < bytes.length; at += size) reader.push(bytes.subarray(at, at + size))
  expect(told).toEqual(["control 2 3 0", "control 7 1 2", "fin 3", "fin 1"])
  expect(text).toEqual({ 1: "bad", 3: "hello" })
})
