import { expect, test } from "bun:test"
import { responseFields } from "../http2/fields.ts"
import { encodeResponseHead, endedAnswer, type ResponseMarks } from "./response-head.ts"

/* What the agent adds to the answer of a client, in both versions of HTTP. */

const headers = new Map([["cache-control", ["max-age=60", "public"]]])
const uncached = "cache-control: no-cache, no-store, must-revalidate"
const marked = "mirrord-agent: forwarded-to-client"

function added(marks: ResponseMarks): { http1: string[]; http2: string[] } {
  const head = encodeResponseHead(200, headers, { kind: "length", bytes: 0 }, true, marks).toString()
  const http1 = head.split("\r\n").filter((line) => line !== "" && !/^(HTTP|content-length)/.test(line))
  const http2 = responseFields(200, headers, marks).map(([name, value]) => `${name}: ${value}`)
  return { http1, http2: http2.filter((line) => line !== ":status: 200") }
}

test.each<[string, ResponseMarks, string[]]>([
  ["no cache keeps it", { inject: false, overrideCacheControl: true }, [uncached]],
  [
    "or caches do what it says",
    { inject: false, overrideCacheControl: false },
    ["cache-control: max-age=60", "cache-control: public"],
  ],
  [
    "it tells where it comes from when that is wished",
    { inject: true, overrideCacheControl: true },
    [uncached, marked],
  ],
  [
    "a shared link's cookie comes along",
    { inject: false, overrideCacheControl: true, setCookie: "a=b" },
    [uncached, "set-cookie: a=b"],
  ],
])("an answer of a client: %s", (_, marks, lines) => {
  expect(added(marks)).toEqual({ http1: lines, http2: lines })
})

test("an upgrade keeps what it says about caches", () => {
  const marks = { inject: true, overrideCacheControl: true }
  const head = encodeResponseHead(101, headers, { kind: "none" }, true, marks).toString()
  expect(head).toBe(
    `HTTP/1.1 101 Switching Protocols\r\ncache-control: max-age=60\r\ncache-control: public\r\n${marked}\r\n\r\n`,
  )
})

test("the answer to a link that has ended is a page, or for HEAD what stands before it", () => {
  const link = { path: "/shop", setCookie: "a=; Max-Age=0" }
  const get = endedAnswer("GET", link).toString()
  const head = endedAnswer("HEAD", link).toString()
  expect(head).toEndWith("\r\n\r\n")
  expect(get).toStartWith(head)
  const page = get.slice(head.length)
  expect(page).toContain("/shop")
  expect(head).toContain(`content-length: ${Buffer.byteLength(page)}\r\n`)
})
