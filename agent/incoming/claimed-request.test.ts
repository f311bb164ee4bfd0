import { expect, test } from "bun:test"
import { silentLogger } from "../../core/log.ts"
import { type DaemonMessage, type DaemonTcp, type HttpBodyFrame, supports } from "../../core/protocol/index.ts"
import type { AgentClient } from "../feature.ts"
import { ClaimedRequest, headerMap, maxWholeBodyBytes } from "./claimed-request.ts"
import { ClientChannel } from "./client-channel.ts"
import type { ReadableRoute } from "./connection.ts"

/* What a client is sent of a request it has claimed, in the form its version knows. */

const route = {
  source: { ip: "10.0.0.1", port: 40_000 },
  destination: { ip: "10.0.0.2", port: 80 },
  transport: { kind: "Tcp" },
} as ReadableRoute
const request = { method: "POST", uri: "/", version: "HTTP/1.1" as const, headers: new Map([["host", ["app"]]]) }
const data = (content: string | Uint8Array): HttpBodyFrame => ({ kind: "Data", value: Buffer.from(content as string) })
const trailers: HttpBodyFrame = { kind: "Trailers", value: new Map([["x", ["1"]]]) }

function claim(version: string) {
  const sent: DaemonTcp[] = []
  const heard: string[] = []
  let isWritable = true
  const waiting: (() => void)[] = []
  const client = {
    log: silentLogger,
    supports: (feature) => supports(version, feature),
    send({ value }: Extract<DaemonMessage, { kind: "TcpSteal" }>) {
      sent.push(value)
      return isWritable
    },
    whenWritable: () => new Promise<void>((resolve) => void waiting.push(resolve)),
  } as AgentClient
  const channel = new ClientChannel(client, "TcpSteal")
  const claimed = new ClaimedRequest(channel, route, request, {
    onResponse: () => void heard.push("response"),
    onTunnelData: (bytes) => void heard.push(`data ${Buffer.from(bytes)}`),
    onClientGone: () => void heard.push("gone"),
    onFull: () => void heard.push("full"),
    onWritable: () => void heard.push("writable"),
  })
  return {
    channel,
    claimed,
    sent,
    heard,
    fill: () => (isWritable = false),
    async drain() {
      isWritable = true
      for (const release of waiting.splice(0)) release()
      await new Promise(setImmediate)
    },
  }
}

const ids = { connectionId: 0n, requestId: 0 }
const part = (frames: HttpBodyFrame[], isLast: boolean) => ({
  kind: "HttpRequestChunked",
  value: { kind: "Body", value: { ...ids, frames, isLast } },
})
const headV1 = (body: HttpBodyFrame[]) => ({
  kind: "HttpRequestChunked",
  value: { kind: "StartV1", value: { ...ids, port: 80, internalRequest: { ...request, body } } },
})
const headV2 = (frames: HttpBodyFrame[], isLast: boolean) => ({
  kind: "HttpRequestChunked",
  value: {
    kind: "StartV2",
    value: {
      ...ids,
      request: { ...request, body: { frames, isLast } },
      metadata: { kind: "V1", value: { source: route.source, destination: route.destination } },
      transport: route.transport,
    },
  },
})

test.each<[version: string, inParts: object[], atOnce: object[]]>([
  [
    "1.19.0",
    [headV2([data("a")], false), part([data("b")], false), part([trailers], true)],
    [headV2([data("a")], true)],
  ],
  [
    "1.7.0",
    [headV1([data("a")]), part([data("b")], false), part([trailers], true)],
    [headV1([data("a")]), part([], true)],
  ],
  [
    "1.3.0",
    [
      {
        kind: "HttpRequestFramed",
        value: { ...ids, port: 80, internalRequest: { ...request, body: [data("a"), data("b"), trailers] } },
      },
    ],
    [{ kind: "HttpRequestFramed", value: { ...ids, port: 80, internalRequest: { ...request, body: [data("a")] } } }],
  ],
  [
    "1.2.2",
    [{ kind: "HttpRequest", value: { ...ids, port: 80, internalRequest: { ...request, body: Buffer.from("ab") } } }],
    [{ kind: "HttpRequest", value: { ...ids, port: 80, internalRequest: { ...request, body: Buffer.from("a") } } }],
  ],
])("a client of %s gets a request as it knows it, in parts or at once", (version, inParts, atOnce) => {
  const slow = claim(version)
  slow.claimed.start([data("a")], false)
  slow.claimed.body([], false)
  slow.claimed.body([data("b")], false)
  slow.claimed.body([trailers], true)
  expect(slow.sent).toEqual(inParts as never)
  const quick = claim(version)
  quick.claimed.start([data("a")], true)
  expect(quick.sent).toEqual(atOnce as never)
})

test.each([
  ["1.3.0", true],
  ["1.2.2", true],
  ["1.7.0", false],
])("a client of %s: a body of more than 16 MiB is too large: %p, one of 16 MiB is not", (version, isTooLarge) => {
  const half = Buffer.alloc(maxWholeBodyBytes / 2)
  const [most, more] = [claim(version), claim(version)]
  most.claimed.start([data(half)], false)
  most.claimed.body([data(half)], true)
  expect([most.claimed.tooLarge, most.sent.length > 0]).toEqual([false, true])
  more.claimed.start([data(half)], false)
  more.claimed.body([data(half)], false)
  more.claimed.body([data("x")], true)
  expect([more.claimed.tooLarge, more.sent.length > 0]).toEqual([isTooLarge, !isTooLarge])
})

test("a client that reads slowly is told of once, and so is that it reads again; not after the end", async () => {
  const { claimed, channel, heard, fill, drain } = claim("1.19.0")
  claimed.start([], false)
  expect(heard).toEqual([])
  fill()
  claimed.body([data("a")], false)
  claimed.body([data("b")], false)
  expect([heard, channel.full]).toEqual([["full"], true])
  await drain()
  expect([heard, channel.full]).toEqual([["full", "writable"], false])
  fill()
  claimed.body([data("c")], false)
  claimed.close()
  await drain()
  expect(heard).toEqual(["full", "writable", "full"])
})

test("after the end the client is told once, and neither side hears of the other", () => {
  const { claimed, channel, sent, heard } = claim("1.19.0")
  claimed.start([], false)
  claimed.close()
  claimed.close()
  claimed.body([data("a")], true)
  claimed.tunnelData(Buffer.from("a"))
  claimed.tunnelEnd()
  claimed.onClientData(Buffer.from("a"))
  claimed.onClientResponse({} as never)
  claimed.onClientGone()
  expect(sent.slice(1)).toEqual([{ kind: "Close", value: { connectionId: 0n } }])
  expect(heard).toEqual([])
  expect(channel.stream(0n)).toBeUndefined()
})

test("a client that wants no more of it is sent no more, and owed no message", () => {
  const { claimed, channel, sent, heard } = claim("1.19.0")
  claimed.start([], false)
  expect(channel.stream(0n)).toBe(claimed)
  claimed.onClientGone()
  claimed.onClientGone()
  claimed.body([data("a")], true)
  claimed.close()
  expect([sent.length, heard, channel.stream(0n)]).toEqual([1, ["gone"], undefined])
})

test("bytes of an upgraded connection go in pieces of 64 KiB, and come as they are", () => {
  const { claimed, sent, heard } = claim("1.19.0")
  claimed.start([], true)
  const bytes = Buffer.alloc((128 << 10) + 1, "abc")
  claimed.tunnelData(bytes)
  claimed.tunnelEnd()
  const pieces = sent.slice(1).map((message) => (message as { value: { bytes: Uint8Array } }).value.bytes)
  expect(pieces.map(({ length }) => length)).toEqual([64 << 10, 64 << 10, 1, 0])
  expect(Buffer.concat(pieces).equals(bytes)).toBe(true)
  claimed.onClientData(Buffer.from("x"))
  expect(heard).toEqual(["data x"])
})

test("a new connection is told of with its TLS to clients that know of that", () => {
  const of = (version: string) => {
    const { channel, sent } = claim(version)
    channel.sendNewConnection(7n, route)
    return sent[0]
  }
  const connection = {
    connectionId: 7n,
    remoteAddress: "10.0.0.1",
    sourcePort: 40_000,
    localAddress: "10.0.0.2",
    destinationPort: 80,
  }
  expect(of("1.19.3")).toEqual({ kind: "NewConnectionV1", value: connection })
  expect(of("1.19.4")).toEqual({ kind: "NewConnectionV2", value: { connection, transport: { kind: "Tcp" } } } as never)
})

test("headers of one name are one list, whatever their case", () => {
  const map = headerMap([
    ["X-A", "1"],
    ["b", "2"],
    ["x-a", "3"],
  ])
  expect([...map]).toEqual([
    ["x-a", ["1", "3"]],
    ["b", ["2"]],
  ])
})
