import { afterAll, describe, expect, test } from "bun:test"
import { Duplex, PassThrough } from "node:stream"
import { inbox, servedWebSocket, undo } from "../../test/fakes/link-carriers.ts"
import { FrameReader } from "../kube/websocket-frames.ts"
import { clientMessage } from "../protocol/index.ts"
import { servedWebSocketLink } from "./served-web-socket.ts"
import { frameHead, opcode } from "./server-frames.ts"
import { servingSide } from "./side.ts"

afterAll(() => {
  for (const step of undo) step()
})

const settle = () => Bun.sleep(30)

describe("a served WebSocket", () => {
  const frame = (code: number, payload: Uint8Array) => {
    const head = frameHead(code, payload.length)
    head[1]! |= 0x80
    return Buffer.concat([head, new Uint8Array(4), payload])
  }
  const goodbye = (code: number) => Uint8Array.of(code >>> 8, code)
  const isFrame = (code: number, payload: Uint8Array | string = "") => [code, Buffer.from(payload).toString("latin1")]
  const ping = frame(opcode.binary, clientMessage.encode({ kind: "Ping" }))

  /** One whose client is a stream of bytes: what it is sent, and what it hears. */
  function open({ head = new Uint8Array(0), takes = true, limits = {} } = {}) {
    const frames: ReturnType<typeof isFrame>[] = []
    const note = (code: number, payload: Uint8Array) => frames.push(isFrame(code, payload))
    const reader = new FrameReader({ data: (piece) => note(opcode.binary, piece), control: note })
    const write = (chunk: Uint8Array, _: unknown, callback: () => void) => {
      if (!takes) return
      reader.push(chunk)
      callback()
    }
    const socket = new Duplex({ read() {}, write })
    const link = servedWebSocketLink(socket, head, servingSide, limits)
    return { socket, link, heard: inbox(link as never), frames }
  }

  test("reads what came with the request first", async () => {
    const { socket, heard, link } = open({ head: ping })
    socket.push(frame(opcode.binary, clientMessage.encode({ kind: "OperatorPong", value: 5n })))
    await heard.until(2)
    expect(heard.messages).toEqual([{ kind: "Ping" }, { kind: "OperatorPong", value: 5n }] as never)
    link.abort()
  })

  test("tells nobody of what comes after it was closed", async () => {
    const { socket, link, heard } = open()
    socket.push(ping)
    await heard.until(1)
    link.close()
    socket.push(Buffer.concat([ping, frame(opcode.close, goodbye(1000))]))
    expect(await link.ended).toEqual({})
    expect(heard.messages).toHaveLength(1)
  })

  test("answers pings with what they held, not pongs, and not once it has said goodbye", async () => {
    const { socket, link, frames } = open()
    socket.push(frame(opcode.ping, Buffer.from("there?")))
    socket.push(frame(opcode.pong, Buffer.from("here")))
    await settle()
    expect(frames).toEqual([isFrame(opcode.pong, "there?")])
    link.close()
    socket.push(frame(opcode.ping, Buffer.from("there?")))
    await settle()
    expect(frames.slice(1)).toEqual([isFrame(opcode.close, goodbye(1000))])
    socket.push(frame(opcode.close, goodbye(4000)))
    expect(await link.ended).toEqual({})
  })

  test.each<[string, Uint8Array, number, object]>([
    ["with a good code", goodbye(1000), 1000, {}],
    ["because its client leaves", goodbye(1001), 1001, {}],
    ["without a code", new Uint8Array(0), 1000, {}],
    [
      "with a bad code",
      goodbye(1011),
      1011,
      { error: { code: "link-lost", message: expect.stringContaining("1011") } },
    ],
  ])("that its client ends %s says the code back and is over", async (_, payload, code, end) => {
    const { socket, link, frames } = open()
    socket.push(Buffer.concat([frame(opcode.close, payload), ping]))
    expect(await link.ended).toMatchObject(end)
    await settle()
    if (!("error" in end)) expect(frames).toEqual([isFrame(opcode.close, goodbye(code))])
    expect(socket.destroyed).toBe(true)
  })

  test("whose client is cut off or fails is lost", async () => {
    for (const cut of [
      (socket: Duplex) => socket.push(null),
      (socket: Duplex) => socket.destroy(),
      (socket: Duplex) => socket.destroy(new Error("reset")),
    ]) {
      const { socket, link } = open()
      cut(socket)
      expect(await link.ended).toMatchObject({ error: { code: "link-lost" } })
      expect(await link.whenWritable()).toBeUndefined()
    }
  })

  test("does not keep the stream of a client that does not take the last frames", async () => {
    const { socket, link } = open({ takes: false, limits: { lingerMs: 60 } })
    socket.push(frame(opcode.close, goodbye(1000)))
    expect(await link.ended).toEqual({})
    expect(socket.destroyed).toBe(false)
    while (!socket.destroyed) await settle()
  })

  test("whose socket has gone before is over at once", async () => {
    const socket = new PassThrough()
    socket.destroy()
    await new Promise((resolve) => socket.once("close", resolve))
    const link = servedWebSocketLink(socket, new Uint8Array(0), servingSide)
    expect(await link.ended).toMatchObject({ error: { code: "link-lost" } })
  })
})

test.each([
  ["text", "hello", 1003, "link-not-binary"],
  ["an unknown message", Uint8Array.of(200), 1002, "protocol-bad-tag"],
])("a WebSocket client that breaks the protocol is told how: %s", async (_what, data, code, error) => {
  const { agent, ws } = await servedWebSocket()
  const closed = new Promise((resolve) => {
    ws.onclose = (event) => resolve(event.code)
  })
  agent.receive(() => {})
  ws.send(data)
  expect(((await agent.ended).error as { code?: string }).code).toBe(error)
  expect(await closed).toBe(code)
})
