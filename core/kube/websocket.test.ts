import { afterEach, describe, expect, test } from "bun:test"
import { createHash } from "node:crypto"
import { type AddressInfo, createServer, type Socket } from "node:net"
import { frameHead, opcode, ServerFrameReader } from "../link/server-frames.ts"
import type { RawSocket } from "./dial.ts"
import { KubeWebSocket, openWebSocket } from "./websocket.ts"

/** A WebSocket on a network that is only noted: what the client sent, whether it reads, and how it ended. */
function open() {
  const sent: string[] = []
  const state = { reads: true, over: false, heard: [] as string[], ends: [] as object[] }
  const note = (code: number, payload: Uint8Array) => sent.push(`${code} ${Buffer.from(payload).toString("latin1")}`)
  const reader = new ServerFrameReader({ message: note, control: note }, 1 << 20)
  const write = (bytes: Uint8Array) => reader.push(Uint8Array.from(bytes))
  const socket = {
    handlers: { data() {}, drain() {}, closed() {} } as RawSocket["handlers"],
    queuedBytes: 0,
    write,
    writeCopy: write,
    pause: () => void (state.reads = false),
    resume: () => void (state.reads = true),
    end: () => void (state.over = true),
    abort: () => void (state.over = true),
  }
  const ws = new KubeWebSocket(socket, "", true)
  const attach = () =>
    ws.attach({
      data: (piece) => void state.heard.push(Buffer.from(piece).toString()),
      drain: () => void state.heard.push("room"),
      closed: (end) => void state.ends.push(end),
    })
  const server = (code: number, payload: string) =>
    socket.handlers.data(Buffer.concat([frameHead(code, payload.length), Buffer.from(payload, "latin1")]))
  return { ws, socket, sent, state, attach, server }
}

const goodbye = (code: number) => String.fromCharCode(code >> 8, code & 255)

describe("a WebSocket to the API server", () => {
  test("reads nothing before somebody listens, who then hears first what came with the greeting", () => {
    const { ws, state, attach, server } = open()
    expect(state.reads).toBe(false)
    ws.unread(Buffer.concat([frameHead(opcode.binary, 5), Buffer.from("early")]))
    ws.unread(Buffer.alloc(0))
    attach()
    expect(state.reads).toBe(true)
    server(opcode.binary, "late")
    expect(state.heard).toEqual(["early", "late"])
  })

  test("answers a ping with what it held, in the middle of a message, too", () => {
    const { ws, sent, attach, server } = open()
    attach()
    ws.send([Buffer.from("one ")])
    server(opcode.ping, "there?")
    ws.sendText("two")
    expect(sent).toEqual(["2 one ", "10 there?", "1 two"])
  })

  test.each<[string, string, object]>([
    ["its code and reason", `${goodbye(1011)}no such port`, { code: 1011, reason: "no such port" }],
    ["its code", goodbye(1000), { code: 1000, reason: undefined }],
    ["nothing", "", { code: 1005, reason: undefined }],
  ])("tells of the server's goodbye %s, and says it back", (_, payload, end) => {
    const { sent, state, attach, server } = open()
    attach()
    server(opcode.close, payload)
    expect(sent).toEqual([`8 ${payload.slice(0, 2)}`])
    expect(state).toMatchObject({ over: true, ends: [end] })
  })

  test("says goodbye once, reads on until the server does, and sends nothing more", () => {
    const { ws, sent, state, attach, server } = open()
    attach()
    ws.pause()
    ws.close()
    ws.close(1001)
    ws.sendText("more")
    expect(ws.send([Buffer.from("more")])).toBe(true)
    server(opcode.ping, "there?")
    expect(state).toMatchObject({ reads: true, over: false, ends: [] })
    server(opcode.close, goodbye(1000))
    expect(sent).toEqual([`8 ${goodbye(1000)}`])
    expect(state).toMatchObject({ over: true, ends: [{ code: 1000 }] })
  })

  test("does not wait for ever for a server that says no goodbye", async () => {
    const { ws, state, attach } = open()
    attach()
    ws.close(1001)
    while (state.ends.length === 0) await Bun.sleep(20)
    expect(state).toMatchObject({ over: true, ends: [{ code: 1001 }] })
  })

  test.each<[string, (one: ReturnType<typeof open>) => void, object]>([
    ["is cut", ({ socket }) => socket.handlers.closed(), { message: "the connection was cut" }],
    ["is lost", ({ socket }) => socket.handlers.closed(new Error("reset")), { message: "reset" }],
    ["brings what is no frame", ({ server }) => server(3, "?"), { code: "kube-bad-answer" }],
    ["is given up", ({ ws }) => ws.abort(new Error("enough")), { message: "enough" }],
  ])("that %s ends with an error, once, and is deaf and dumb from then on", (_, act, error) => {
    const one = open()
    one.attach()
    act(one)
    expect(one.state).toMatchObject({ over: true, ends: [{ error }] })
    one.socket.handlers.closed(new Error("later"))
    one.server(opcode.binary, "late")
    one.ws.sendText("late")
    one.ws.close()
    expect(one.state.heard).toEqual([])
    expect(one.sent).toEqual([])
    expect(one.state.ends).toHaveLength(1)
  })

  test("asks to wait from 512 KiB that are not sent yet, until there is room or an end", () => {
    const { ws, socket, state, attach } = open()
    attach()
    const send = () => ws.send([Buffer.from("x")])
    socket.queuedBytes = (512 << 10) - 1
    expect([send(), ws.writable, ws.queuedBytes]).toEqual([true, true, socket.queuedBytes])
    socket.queuedBytes++
    expect([send(), ws.writable]).toEqual([false, false])
    socket.handlers.drain()
    expect(state.heard).toEqual(["room"])
    ws.abort()
    expect([send(), ws.writable, ws.queuedBytes]).toEqual([true, true, 0])
  })
})

describe("the handshake", () => {
  const undo: (() => void)[] = []
  afterEach(() => {
    for (const step of undo.splice(0)) step()
  })

  /** A server that answers every request with `answer`, and what becomes of its connection. */
  async function serve(answer: (key: string) => string) {
    const gone = Promise.withResolvers<void>()
    const asked: string[] = []
    const server = createServer((socket: Socket) => {
      socket.on("error", () => {})
      socket.once("close", () => gone.resolve())
      socket.once("data", (head) => {
        asked.push(head.toString())
        socket.write(answer(/Sec-WebSocket-Key: (\S+)/.exec(head.toString())?.[1] ?? ""), "latin1")
      })
    })
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
    undo.push(() => server.close())
    const access = { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, headers: {} }
    const options = { protocols: ["a", "b"], headers: { "X-More": "1" }, timeoutMs: 5_000, what: "try" }
    return { asked, gone: gone.promise, open: () => openWebSocket(access, "/x?y=z", options) }
  }

  const switching = (accept: string) =>
    `HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: ${accept}\r\nSec-WebSocket-Protocol: b\r\n\r\n`
  // RFC 6455, section 1.3.
  const acceptOf = (key: string) =>
    createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64")

  test("asks for a WebSocket and its protocols, and tells which was chosen", async () => {
    const { asked, open } = await serve((key) => `${switching(acceptOf(key))}\x81\x02hi`)
    const ws = await open()
    expect(ws.protocol).toBe("b")
    expect(asked[0]).toStartWith("GET /x?y=z HTTP/1.1\r\n")
    for (const line of ["Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Protocol: a, b", "X-More: 1"])
      expect(asked[0]).toContain(`${line}\r\n`)
    const heard = await new Promise((resolve) =>
      ws.attach({ data: (piece) => resolve(Buffer.from(piece).toString()), drain() {}, closed: resolve }),
    )
    expect(heard).toBe("hi")
    ws.abort()
  })

  test("that was not meant for this request is refused, and nothing stays open", async () => {
    const { open, gone } = await serve(() => switching(acceptOf("another")))
    await expect(open()).rejects.toMatchObject({
      code: "kube-unreachable",
      message: expect.stringContaining("handshake"),
    })
    await gone
  })
})
