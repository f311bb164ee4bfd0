import { expect, test } from "bun:test"
import { ResponseScanner } from "./response-scanner.ts"

/* Where an application's answers end, by their bytes alone. */

/** What is known after the bytes, which come in pieces of that size, when answers to those requests are awaited. */
function scanned(methods: string, text: string, pieceBytes: number) {
  let awaited = 0
  const scanner = new ResponseScanner((by) => (awaited += by))
  for (const method of methods.split(" ")) scanner.expect(method)
  const bytes = Buffer.from(text, "latin1")
  for (let at = 0; at < bytes.length && !scanner.opaque; at += pieceBytes)
    scanner.feed(bytes.subarray(at, at + pieceBytes))
  expect(awaited).toBe(scanner.outstanding)
  const { outstanding, opaque, switched, midway } = scanner
  return [outstanding, opaque ? (switched ? "switched" : "opaque") : midway ? "midway" : "between"]
}

const head = (status: number, ...lines: string[]) =>
  `HTTP/1.1 ${status} X\r\n${lines.map((line) => `${line}\r\n`).join("")}\r\n`
const chunked = "Transfer-Encoding: chunked"
const hello = "Content-Length: 5"

test.each<[what: string, methods: string, text: string, left: number, state: string]>([
  ["nothing yet", "GET", "", 1, "between"],
  ["half a head", "GET", "HTTP/1.1 200", 1, "midway"],
  ["one with a length", "GET", `${head(200, hello)}hello`, 0, "between"],
  ["one whose body is on its way", "GET", `${head(200, hello)}hell`, 1, "midway"],
  ["one with a length of nothing", "GET", head(200, "content-length:0"), 0, "between"],
  ["one in chunks", "GET", `${head(200, chunked)}5;a=b\r\nhello\r\n0\r\nX: 1\r\n\r\n`, 0, "between"],
  ["one in chunks without the last", "GET", `${head(200, chunked)}5\r\nhello\r\n`, 1, "midway"],
  ["two", "GET GET", `${head(200, hello)}hello${head(404, hello)}hello`, 0, "between"],
  ["one of two", "GET GET", `${head(200, hello)}hello`, 1, "between"],
  ["the head only, to HEAD", "HEAD GET", `${head(200, hello)}${head(200, hello)}hello`, 0, "between"],
  ["no content", "GET GET", `${head(204)}${head(200, hello)}hello`, 0, "between"],
  ["nothing new", "GET GET", `${head(304, hello)}${head(200, hello)}hello`, 0, "between"],
  ["one after a word on the way", "GET", `${head(100)}${head(103, "Link: x")}${head(200, hello)}hello`, 0, "between"],
  ["an upgrade", "GET", head(101), 1, "switched"],
  ["an upgrade nobody asked for", "GET", `${head(200, hello)}hello${head(101)}`, 0, "opaque"],
  ["a tunnel", "CONNECT", head(200), 1, "opaque"],
  ["no tunnel", "CONNECT", `${head(403, hello)}hello`, 0, "between"],
  ["one that nobody asked for", "GET", `${head(200, hello)}hello${head(200, hello)}`, 0, "opaque"],
  ["one until the end", "GET", head(200), 1, "opaque"],
  ["one of two lengths", "GET", head(200, hello, hello), 1, "opaque"],
  ["one of a length and chunks", "GET", head(200, hello, chunked), 1, "opaque"],
  ["one of another coding", "GET", head(200, "Transfer-Encoding: gzip, chunked"), 1, "opaque"],
  ["one whose chunks are none", "GET", `${head(200, chunked)}zz\r\n`, 1, "opaque"],
  ["one of a length that is none", "GET", head(200, "Content-Length: five"), 1, "opaque"],
  ["no HTTP", "GET", "SSH-2.0-x\r\n\r\n", 1, "opaque"],
  ["HTTP of another kind", "GET", "HTTP/2.0 200 X\r\n\r\n", 1, "opaque"],
  ["a head without an end", "GET", `HTTP/1.1 200 X\r\nA: ${"a".repeat(1 << 20)}`, 1, "opaque"],
])("in %s (asked: %s) the end of an answer is found or known to be unknown", (_, methods, text, left, state) => {
  for (const pieceBytes of text.length > 10_000 ? [text.length, 10_007] : [1, 3, text.length + 1])
    expect([pieceBytes, scanned(methods, text, pieceBytes)]).toEqual([pieceBytes, [left, state]])
})

test("a line of our own stands at the end of its answer's head, and nowhere else", () => {
  const scanner = new ResponseScanner(() => {})
  scanner.expect("GET", "set-cookie: a\r\n")
  scanner.expect("GET")
  scanner.expect("HEAD", "set-cookie: b\r\n")
  const answers = [`${head(100)}${head(200, hello)}hello`, `${head(200, hello)}hello`, head(204)]
  const bytes = Buffer.from(answers.join(""))
  expect(scanner.feed(bytes)).toBe(bytes.length)
  expect(scanner.withLines(bytes).toString()).toBe(
    [`${head(100)}${head(200, hello, "set-cookie: a")}hello`, answers[1], head(204, "set-cookie: b")].join(""),
  )
  expect(scanner.withLines(bytes)).toBe(bytes)
})

test("who gives up awaits nothing", () => {
  let awaited = 0
  const scanner = new ResponseScanner((by) => (awaited += by))
  scanner.giveUp()
  scanner.expect("GET")
  scanner.expect("GET")
  scanner.giveUp()
  expect([awaited, scanner.outstanding]).toEqual([0, 0])
})
