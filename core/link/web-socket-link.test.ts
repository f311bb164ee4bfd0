import { describe, expect, test } from "bun:test"
import { inbox } from "../../test/fakes/link-carriers.ts"
import { clientMessage, daemonMessage } from "../protocol/index.ts"
import { defaultLinkLimits, servingSide } from "./side.ts"
import { type WebSocketLike, webSocketLink } from "./web-socket-link.ts"

/** A link over a WebSocket that only notes what is done to it. */
function open({ readyState = 1 } = {}) {
  const seen: (string | Uint8Array)[] = []
  const socket: WebSocketLike = {
    binaryType: "",
    bufferedAmount: 0,
    readyState,
    send: (bytes) => void seen.push(bytes),
    close: (code) => void seen.push(`close ${code}`),
    terminate: () => void seen.push("terminate"),
    pause() {},
    resume() {},
    onmessage: null,
    onclose: null,
    onerror: null,
  }
  const link = webSocketLink(socket, servingSide)
  const message = (data: unknown) => socket.onmessage?.({ data } as never)
  const closed = (code: number, reason = "") => socket.onclose?.({ code, reason } as never)
  return { link, socket, seen, message, closed }
}

const ping = clientMessage.encode({ kind: "Ping" })

describe("a link over a WebSocket", () => {
  test("sends each message by itself, and takes them as buffers of either kind", () => {
    const { link, seen, message } = open()
    const heard = inbox(link as never)
    link.send({ kind: "Pong" })
    link.send({ kind: "Close", value: "bye" })
    expect(seen).toEqual([
      daemonMessage.encode({ kind: "Pong" }),
      daemonMessage.encode({ kind: "Close", value: "bye" }),
    ])
    message(ping)
    message(Uint8Array.from(ping).buffer)
    expect(heard.messages).toEqual([{ kind: "Ping" }, { kind: "Ping" }] as never)
  })

  test.each<[what: string, data: unknown, code: string]>([
    ["text", "hello", "link-not-binary"],
    ["an unknown message", Uint8Array.of(200), "protocol-bad-tag"],
    ["half a message", ping.subarray(0, 0), "protocol-incomplete"],
  ])("%s ends it", async (_, data, code) => {
    const { link, seen, message } = open()
    link.receive(() => {})
    message(data)
    expect(await link.ended).toMatchObject({ error: { code } })
    expect(seen).toEqual(["terminate"])
  })

  test.each([
    [1000, "", undefined],
    [1001, "", undefined],
    [1005, "", undefined],
    [1006, "", "closed with code 1006"],
    [1011, "no agent", "closed with code 1011 (no agent)"],
  ])("closed with code %d %p is a loss or an end", async (code, reason, words) => {
    const { link, closed } = open()
    link.receive(() => {})
    closed(code, reason)
    const { error } = await link.ended
    if (words === undefined) expect(error).toBeUndefined()
    else expect(error).toMatchObject({ code: "link-lost", message: `The connection was lost: ${words}` })
  })

  test("a failure is a loss with its reason; whatever is told after it is not another", async () => {
    const { link, socket, seen, closed } = open()
    link.receive(() => {})
    socket.onerror?.({ message: "reset" } as never)
    closed(1000)
    expect(await link.ended).toMatchObject({ error: { code: "link-lost", message: "The connection was lost: reset" } })
    expect(seen).toEqual(["terminate"])
  })

  test("a loss comes after what was received before it, and nothing is sent meanwhile", async () => {
    const { link, socket, seen, message, closed } = open()
    Object.assign(socket, { bufferedAmount: defaultLinkLimits.highWaterBytes, ondrain: null })
    const waiting = link.whenWritable()
    message(ping)
    message(ping)
    closed(1006)
    await waiting
    expect(link.send({ kind: "Pong" })).toBe(true)
    await link.whenWritable()
    expect(seen).toEqual([])
    const heard = inbox(link as never)
    expect(await link.ended).toMatchObject({ error: { code: "link-lost" } })
    expect(heard.messages).toHaveLength(2)
  })

  test("after our own close any code is an end", async () => {
    const { link, seen, closed } = open()
    link.close()
    closed(1006)
    expect(await link.ended).toEqual({})
    expect(seen).toEqual(["close 1000", "terminate"])
  })

  test("one that is not open any more is lost at once", async () => {
    const { link } = open({ readyState: 3 })
    link.receive(() => {})
    expect(await link.ended).toMatchObject({ error: { code: "link-lost" } })
  })
})
