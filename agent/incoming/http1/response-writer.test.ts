import { describe, expect, test } from "bun:test"
import type { HttpBodyFrame, HttpHeaders } from "../../../core/protocol/index.ts"
import type { ClientResponse } from "../client-channel.ts"
import { ResponseWriter } from "./response-writer.ts"

/* What a caller reads of a client's answer, in whichever form that comes. */

const ids = { connectionId: 1n, requestId: 0 }
const headersOf = (...pairs: [string, ...string[]][]): HttpHeaders =>
  new Map(pairs.map(([name, ...values]) => [name, values]))
const data = (text: string): HttpBodyFrame => ({ kind: "Data", value: Buffer.from(text) })
const trailers: HttpBodyFrame = { kind: "Trailers", value: headersOf(["x-sum", "1", "2"]) }

const internal = <B>(status: number, headers: HttpHeaders, body: B) => ({
  ...ids,
  port: 0,
  internalResponse: { status, version: "HTTP/1.1" as const, headers, body },
})
const whole = (text: string, status = 200, headers = headersOf()): ClientResponse => ({
  kind: "HttpResponse",
  value: internal(status, headers, Buffer.from(text) as Uint8Array),
})
const framed = (frames: HttpBodyFrame[], status = 200, headers = headersOf()): ClientResponse => ({
  kind: "HttpResponseFramed",
  value: internal(status, headers, frames),
})
const start = (frames: HttpBodyFrame[], headers = headersOf(), status = 200): ClientResponse => ({
  kind: "HttpResponseChunked",
  value: { kind: "Start", value: internal(status, headers, frames) },
})
const body = (frames: HttpBodyFrame[], isLast = false): ClientResponse => ({
  kind: "HttpResponseChunked",
  value: { kind: "Body", value: { frames, isLast, ...ids } },
})

interface Request {
  method?: string
  version?: string
  keepAlive?: boolean
}

/** What the caller got, how it went on after each message, and whether the connection may be used again. */
function written(messages: ClientResponse[], { method = "GET", version = "HTTP/1.1", keepAlive = true }: Request = {}) {
  let text = ""
  const marks = { inject: false, overrideCacheControl: false }
  const writer = new ResponseWriter({ method, version, keepAlive }, marks, (pieces) => {
    text += Buffer.concat(pieces).toString("latin1")
  })
  const progress = messages.map((message) => writer.take(message)).join(" ")
  return { text, progress, keepAlive: writer.keepAlive }
}

const old = { version: "HTTP/1.0" }
const ok = "HTTP/1.1 200 OK\r\n"
const length = (bytes: number) => headersOf(["content-length", String(bytes)])

test.each<[string, ClientResponse[], Request, string, string]>([
  ["whole", [whole("hello")], {}, `${ok}content-length: 5\r\n\r\nhello`, "done"],
  ["whole and empty", [whole("")], {}, `${ok}content-length: 0\r\n\r\n`, "done"],
  [
    "whole, with headers",
    [
      whole(
        "x",
        404,
        headersOf(["set-cookie", "a=1", "b=2"], ["transfer-encoding", "chunked"], ["content-length", "9"]),
      ),
    ],
    {},
    "HTTP/1.1 404 Not Found\r\nset-cookie: a=1\r\nset-cookie: b=2\r\ncontent-length: 1\r\n\r\nx",
    "done",
  ],
  ["in frames", [framed([data("a"), data(""), data("b")])], {}, `${ok}content-length: 2\r\n\r\nab`, "done"],
  [
    "in frames with trailers",
    [framed([data("ab"), data(""), trailers])],
    {},
    `${ok}transfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nx-sum: 1\r\nx-sum: 2\r\n\r\n`,
    "done",
  ],
  [
    "in frames with trailers, which HTTP/1.0 has not",
    [framed([data("ab"), trailers])],
    old,
    `${ok}content-length: 2\r\nconnection: close\r\n\r\nab`,
    "done",
  ],
  [
    "in parts, of which an empty one is not the end",
    [start([data("a")]), body([data("")]), body([]), body([data("bc")], true)],
    {},
    `${ok}transfer-encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n`,
    "more more more done",
  ],
  [
    "in parts with trailers",
    [start([]), body([data("a"), trailers], true)],
    {},
    `${ok}transfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx-sum: 1\r\nx-sum: 2\r\n\r\n`,
    "more done",
  ],
  [
    "in parts, to HTTP/1.0",
    [start([data("a")]), body([data("b"), trailers], true)],
    old,
    `${ok}connection: close\r\n\r\nab`,
    "more done",
  ],
  [
    "in parts of a known length",
    [start([data("a")], length(3)), body([data("bc")], true)],
    {},
    `${ok}content-length: 3\r\n\r\nabc`,
    "more done",
  ],
  ...[["7x"], ["1", "2"], [""], ["-1"]].map((values): [string, ClientResponse[], Request, string, string] => [
    `in parts whose length says ${JSON.stringify(values)}`,
    [start([data("a")], headersOf(["content-length", ...(values as [string])])), body([], true)],
    {},
    `${ok}transfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n`,
    "more done",
  ]),
])("an answer that comes %s", (_, messages, request, text, progress) => {
  expect(written(messages, request)).toMatchObject({ text, progress })
})

test.each<[string, ClientResponse[], Request, string, string]>([
  ["HEAD", [whole("body", 200, length(9))], { method: "HEAD" }, `${ok}content-length: 9\r\n\r\n`, "done"],
  ["HEAD in parts", [start([data("body")]), body([], true)], { method: "HEAD" }, `${ok}\r\n`, "more done"],
  ["no content", [whole("body", 204, length(9))], {}, "HTTP/1.1 204 No Content\r\n\r\n", "done"],
  [
    "nothing new",
    [framed([data("x")], 304, length(9))],
    {},
    "HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n",
    "done",
  ],
])("an answer to %s has no body", (_, messages, request, text, progress) => {
  expect(written(messages, request)).toMatchObject({ text, progress })
})

describe("an answer that cannot be", () => {
  test.each<[string, ClientResponse[], string]>([
    ["begins twice", [start([]), start([])], "more failed"],
    ["is whole after it began", [start([]), whole("x")], "more failed"],
    ["has a body before it began", [body([data("x")])], "failed"],
    ["is only on its way", [whole("", 100)], "failed"],
    ["is an error", [{ kind: "HttpResponseChunked", value: { kind: "Error", value: ids } }], "failed"],
    ["is longer than it says", [start([data("ab")], length(3)), body([data("cd")])], "more failed"],
    ["is longer than it says at once", [start([data("abcd")], length(3))], "failed"],
    ["is shorter than it says", [start([data("ab")], length(3)), body([], true)], "more failed"],
  ])("%s fails", (_, messages, progress) => {
    expect(written(messages).progress).toBe(progress)
  })

  test("does not bring the caller what belongs to no answer", () => {
    expect(written([start([data("ab")], length(3)), body([data("cd")])]).text).toEndWith("\r\n\r\nab")
  })
})

test("an upgrade is one in every form, and keeps what it says of the connection", () => {
  const headers = headersOf(["connection", "upgrade"], ["upgrade", "x"])
  const text = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n"
  for (const messages of [
    [whole("", 101, headers)],
    [framed([], 101, headers)],
    [start([], headers, 101), body([], true)],
  ])
    expect(written(messages)).toMatchObject({ text, progress: messages.length === 1 ? "upgraded" : "more upgraded" })
})

test.each<[string, ClientResponse[], Request, boolean]>([
  ["when both want it", [whole("x")], {}, true],
  ["not when the caller ends it", [whole("x")], { keepAlive: false }, false],
  ["not with HTTP/1.0", [whole("x")], old, false],
  ["not when the answer ends it", [whole("x", 200, headersOf(["connection", "foo, Close"]))], {}, false],
  [
    "also with other words about the connection",
    [whole("x", 200, headersOf(["connection", "closed-caption"]))],
    {},
    true,
  ],
  ["also when it keeps it alive", [whole("x", 200, headersOf(["connection", "keep-alive"]))], {}, true],
])("the connection is used again %s", (_, messages, request, keepAlive) => {
  const { text, ...rest } = written(messages, request)
  expect(rest.keepAlive).toBe(keepAlive)
  expect(text.includes("connection: close\r\n")).toBe(!keepAlive)
})
