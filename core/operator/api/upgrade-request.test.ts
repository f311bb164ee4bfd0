import { expect, test } from "bun:test"
import { readUpgrade } from "./upgrade-request.ts"

const first = "GET /apis/x?connect=true HTTP/1.1"
const wish = ["Host: x", "Connection: keep-alive, Upgrade", "Upgrade: WebSocket"]
const read = (...lines: string[]) => readUpgrade(Buffer.from(lines.join("\r\n"), "latin1"))

test("a plain wish for a WebSocket is read, with its headers as they came", () => {
  const request = read(first, ...wish, "X-Remote-Group: a", "x-remote-GROUP:\t b ")
  expect(request).toMatchObject({ method: "GET", url: "/apis/x?connect=true", headers: { "x-remote-group": "a, b" } })
  expect(request?.rawHeaders.slice(-4)).toEqual(["X-Remote-Group", "a", "x-remote-GROUP", "b"])
})

test.each<[string, string[]]>([
  ["another method", ["POST /apis/x HTTP/1.1", ...wish]],
  ["another version", ["GET /apis/x HTTP/1.0", ...wish]],
  ["a whole URL", ["GET http://x/apis HTTP/1.1", ...wish]],
  ["a space in the URL", ["GET /apis /x HTTP/1.1", ...wish]],
  ["a length", [first, ...wish, "Content-Length: 5"]],
  ["chunks", [first, ...wish, "Transfer-Encoding: chunked"]],
  ["a wish to be told to go on", [first, ...wish, "Expect: 100-continue"]],
  ["a header over two lines", [first, ...wish, "X-Remote-User: a", " b"]],
  ["a space before the colon", [first, ...wish, "X-Remote-User : a"]],
  ["a line feed alone", [first, ...wish, "X-A: b\nX-Remote-User: root"]],
  ["a NUL", [first, ...wish, "X-Remote-User: a\0"]],
  ["a line without a colon", [first, ...wish, "nothing"]],
  ["another protocol", [first, "Connection: Upgrade", "Upgrade: h2c"]],
  ["an upgrade its connection does not name", [first, "Connection: keep-alive", "Upgrade: websocket"]],
  ["nothing to upgrade to", [first, "Connection: Upgrade"]],
])("%s is left to a whole parser", (_what, lines) => {
  expect(read(...lines)).toBeUndefined()
})
