import { expect, test } from "bun:test"
import { ResponseReader } from "./http1-response.ts"

/** Reads `text` in pieces of `size` bytes and gives what was told. */
function read(text: string, options: { method?: string; size?: number; end?: boolean } = {}) {
  const told: string[] = []
  let body = ""
  const reader = new ResponseReader(options.method ?? "GET", {
    head: ({ status, headers }) =>
      told.push(`head ${status} ${[...headers].map(([name, values]) => `${name}=${values.join("|")}`).join(" ")}`),
    body: (bytes) => (body += Buffer.from(bytes).toString()),
    done: (trailers, reusable) =>
      told.push(`done ${reusable ? "reusable" : "closing"}${trailers ? ` ${[...trailers.keys()].join()}` : ""}`),
    tunnel: (bytes) => told.push(`tunnel ${Buffer.from(bytes).toString()}`),
  })
  const bytes = Buffer.from(text)
  const size = options.size ?? bytes.length
  for (let at = 0; at < bytes.length; at += size) reader.push(bytes.subarray(at, at + size))
  if (options.end) reader.end()
  return [...told, ...(body ? [`body ${body}`] : [])]
}

const chunked =
  "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5;x=1\r\nhello\r\n6\r\n world\r\n0\r\nx-sum: 11\r\n\r\n"

test.each([1, 2, 3, 7, 1000])("in pieces of %d bytes every response reads the same", (size) => {
  expect(read("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\nhello", { size })).toEqual(
    ["head 200 content-length=5 set-cookie=a|b", "done reusable", "body hello"],
  )
  expect(read(chunked, { size })).toEqual([
    "head 200 transfer-encoding=chunked",
    "done reusable x-sum",
    "body hello world",
  ])
})

test.each([
  ["a HEAD request has no body", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", { method: "HEAD" }, "done reusable"],
  ["204 has none either", "HTTP/1.1 204 No Content\r\n\r\n", {}, "done reusable"],
  ["a body may last to the end of the connection", "HTTP/1.0 200 OK\r\n\r\nhello", { end: true }, "done closing"],
  ["HTTP/1.0 ends it too", "HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n", {}, "done closing"],
  [
    "and whatever else it says of the connection",
    "HTTP/1.0 200 OK\r\nconnection: te\r\ncontent-length: 0\r\n\r\n",
    {},
    "done closing",
  ],
  [
    "unless it says that it does not",
    "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 0\r\n\r\n",
    {},
    "done reusable",
  ],
  [
    "connection: close ends the connection",
    "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
    {},
    "done closing",
  ],
  ["interim answers are passed over", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 x\r\n\r\n", {}, "done reusable"],
  ["after 101 the bytes are the new protocol's", "HTTP/1.1 101 x\r\nupgrade: y\r\n\r\nraw", {}, "tunnel raw"],
])("%s", (_, text, options, expected) => {
  expect(read(text, options)).toContain(expected)
})

test.each([
  ["another protocol", "SSH-2.0-x\r\n\r\n"],
  ["two lengths", "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n"],
  ["a length that is no number", "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n"],
  ["a chunk size that is no number", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"],
  ["a header without a name", "HTTP/1.1 200 OK\r\n: x\r\n\r\n"],
  ["a header without a colon", "HTTP/1.1 200 OK\r\nnothing\r\n\r\n"],
  ["a header with a space in its name", "HTTP/1.1 200 OK\r\nx y: z\r\n\r\n"],
  ["a header with a space before its colon", "HTTP/1.1 200 OK\r\ncontent-length : 0\r\n\r\n"],
  ["a head that never ends", `HTTP/1.1 200 OK\r\n${"x: y\r\n".repeat(60_000)}`],
])("%s is refused", (_, text) => {
  expect(() => read(text)).toThrow()
})

test("a response cut off is noticed", () => {
  expect(() => read("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello", { end: true })).toThrow("too early")
})
