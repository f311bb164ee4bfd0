import { expect, test } from "bun:test"
import type { HttpFilter } from "../../../core/protocol/index.ts"
import { slack } from "../../../test/slack.ts"
import { compileFilter, type FilterRequest } from "./filter.ts"
import { compileJq } from "./jq/jq.ts"
import { compileJsonPath } from "./json-path.ts"

const store = {
  book: [
    { title: "A", price: 8, tags: ["x"] },
    { title: "B", price: 12, isbn: "1" },
    { title: "C", price: 22, isbn: "2" },
  ],
  "odd name": { deep: [null, true, { price: 1 }] },
}

test.each([
  ["$.book[0].title", ["A"]],
  ["$['book'][-1]['title']", ["C"]],
  ["$.book[*].title", ["A", "B", "C"]],
  ["$.book[1:].title", ["B", "C"]],
  ["$.book[::-1].title", ["C", "B", "A"]],
  ["$.book[0,2].title", ["A", "C"]],
  ["$..price", [8, 12, 22, 1]],
  ["$.book[?@.isbn].title", ["B", "C"]],
  ["$.book[?!@.isbn].title", ["A"]],
  ["$.book[?@.price < 10 || @.isbn == '2'].title", ["A", "C"]],
  ["$.book[?@.price >= 12 && @.price <= 12].title", ["B"]],
  ["$.book[?search(@.title, '[AB]')].price", [8, 12]],
  ["$.book[?match(@.title, 'A|B')].price", [8, 12]],
  ["$.book[?length(@.tags) == 1].title", ["A"]],
  ["$.book[?count(@.*) == 3].title", ["A", "B", "C"]],
  ["$.book[?typeof(@.price) == 'number'].title", ["A", "B", "C"]],
  ['$["odd name"].deep[0]', [null]],
  ["$.nothing", []],
  ["$.book.title", []],
])("JSONPath %s", (query, expected) => {
  expect(compileJsonPath(query)(store)).toEqual(expected)
})

test.each(["", "book", "$.", "$[", "$[?]", "$.book[", "$['a", "$[?@.a ==]", "$..", `$${"[?(".repeat(60)}`])(
  "JSONPath %s is refused",
  (query) => {
    expect(() => compileJsonPath(query)).toThrow(expect.objectContaining({ code: "bad-json-path" }))
  },
)

test("a JSONPath that would visit everything for ever stops", () => {
  let deep: unknown = 1
  for (let level = 0; level < 200; level++) deep = [deep, deep]
  expect(compileJsonPath("$..*..*..*..*")(deep)).toEqual([])
})

test.each([
  ['. == "x: y"', [true]],
  ['startswith("x: ")', [true]],
  ['split(": ") | .[1] == "y"', [true]],
  ['ltrimstr("x: ") | ascii_upcase', ["Y"]],
  ['test("^X"; "i")', [true]],
  ['test("^z") | not', [true]],
  ['if startswith("x") then true else false end', [true]],
  ['split(": ") as $p | $p[0] + "=" + $p[1]', ["x=y"]],
  ["[.[0:1], length, (1 + 2 * 3)]", [["x", 4, 7]]],
  ['"\\(length) of \\(.)"', ["4 of x: y"]],
  ['(.a? // "none")', ["none"]],
  ['try error("no") catch .', ["no"]],
  ['{"k": .} | .k | contains("y")', [true]],
  ["[1, 2, 3] | map(select(. > 1)) | add", [5]],
  ['"{\\"a\\":[1,{\\"b\\":true}]}" | fromjson | .a[1].b', [true]],
  ["1, 2", [1, 2]],
  [". and (. | not)", [false]],
  ["-1 < 0", [true]],
  [".a", []],
])("jq %s", (program, expected) => {
  expect(compileJq(program)("x: y")).toEqual(expected)
})

test.each(["", "(", "foo", "def f: 1; f", "$x", '"a', ". as x | 1", "reduce . as $x (0; 1)", "if . then 1"])(
  "jq %s is refused",
  (program) => {
    expect(() => compileJq(program)).toThrow(expect.objectContaining({ code: "bad-jq" }))
  },
)

test("a header is what a jq filter looks at, and its first boolean counts", () => {
  const { matches } = compileFilter({
    kind: "HeaderJq",
    value: 'split(": ") | "text", (.[0] == "x-user" and .[1] == "me")',
  })
  const request = { method: "GET", target: "/", body: undefined }
  expect(matches({ ...request, headers: [["X-User", "me"]] })).toBe(true)
  expect(matches({ ...request, headers: [["X-User", "you"]] })).toBe(false)
})

test("header values that are not printable are not looked at", () => {
  const { matches } = compileFilter({ kind: "Header", value: "me" })
  const request = { method: "GET", target: "/", body: undefined }
  expect(matches({ ...request, headers: [["x", "me\xff"]] })).toBe(false)
  expect(matches({ ...request, headers: [["x", "me"]] })).toBe(true)
})

test("an empty list of filters matches under all and not under any", () => {
  const request = { method: "GET", target: "/", headers: [], body: undefined }
  for (const all of [true, false]) {
    expect(compileFilter({ kind: "Composite", value: { all, filters: [] } }).matches(request)).toBe(all)
  }
})

const matchesBody = (query: string, matches: string, body: string) =>
  compileFilter({ kind: "Body", value: { kind: "Json", value: { query, matches } } }).matches({
    method: "POST",
    target: "/",
    headers: [],
    body: Buffer.from(body),
  })

test("a body nested deeper than 127 is no JSON; brackets in texts do not nest", () => {
  const nested = (depth: number) => `${'{"a":['.repeat(depth / 2)}"x"${"]}".repeat(depth / 2)}`
  expect(matchesBody("$..*", "^x$", nested(126))).toBe(true)
  expect(matchesBody("$..*", "^x$", nested(128))).toBe(false)
  const text = `\\"${"[{".repeat(100)}\\\\`
  expect(matchesBody("$.a[1]", "^x$", `{"a":["${text}","x"],"${text}":1}`)).toBe(true)
  expect(matchesBody("$", "^x$", `"${'\\"a'.repeat(200_000)}"`)).toBe(false)
})

/** Of 64 KiB, the most that is looked at. */
const largest = 65_536
test.each<[string, HttpFilter, Partial<FilterRequest>]>([
  [
    "many nodes, each of them hard",
    { kind: "Body", value: { kind: "Json", value: { query: "$[*]", matches: String.raw`^(a+)+\1(a+)+b$` } } },
    { body: Buffer.from(JSON.stringify(Array(320).fill("a".repeat(200)))) },
  ],
  [
    "a query with a hard search in each node",
    {
      kind: "Body",
      value: { kind: "Json", value: { query: String.raw`$[?search(@, '^(a+)+\\1(a+)+b$')]`, matches: "" } },
    },
    { body: Buffer.from(JSON.stringify(Array(320).fill("a".repeat(200)))) },
  ],
  [
    "a body of brackets",
    { kind: "Body", value: { kind: "Json", value: { query: "$..*", matches: "x" } } },
    { body: Buffer.from("[".repeat(largest / 2) + "]".repeat(largest / 2)) },
  ],
  [
    "many headers, each of them hard",
    { kind: "Header", value: String.raw`^.*: (a+)+\1(a+)+b$` },
    { headers: Array.from({ length: 256 }, (_, index) => [`x-${index}`, "a".repeat(200)] as const) },
  ],
  [
    "many headers for a slow program",
    { kind: "HeaderJq", value: 'split("") | map(test("^(a+)+b$")) | any' },
    { headers: Array.from({ length: 256 }, (_, index) => [`x-${index}`, "a".repeat(200)] as const) },
  ],
  [
    "a program whose text grows without end",
    { kind: "HeaderJq", value: `${Array(40).fill(". + .").join(" | ")} | length > 1` },
    { headers: [["x", "y"]] },
  ],
  [
    "a program that joins without end",
    { kind: "HeaderJq", value: 'split("") as $all | $all | join($all | join($all | join($all | add))) | length > 1' },
    { headers: [["x", "a".repeat(8000)]] },
  ],
])("%s: not found, and soon", (_, filter, request) => {
  const { matches } = compileFilter(filter)
  const started = performance.now()
  expect(matches({ method: "POST", target: "/", headers: [], body: undefined, ...request })).toBe(false)
  // About a tenth of a second; without a limit on all of it together some take minutes, and one the memory there is.
  expect(performance.now() - started).toBeLessThan(1500 * slack)
})
