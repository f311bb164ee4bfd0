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
  ["$.book[-3].title", ["A"]],
  ["$.book[-4].title", []],
  ["$.book[3].title", []],
  ["$['odd name'][0:1]", []],
  ["$['odd name'][0]", []],
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

test.each([
  ['split(": ") as [$name, $value] | $name + $value', ["xy"]],
  ["{a: [1, {b: 2}]} as {a: [$one, {b: $two}]} | $one, $two", [1, 2]],
  [
    '{a: 1} as {$a} | {$a, b: 2} | {a, "b", (("c", "d")): 3}',
    [
      { a: 1, b: 2, c: 3 },
      { a: 1, b: 2, d: 3 },
    ],
  ],
  ["[1] as [$a, $b] | $b", [null]],
  ["reduce (1, 2, 3) as $x (0; . + $x)", [6]],
  ["[foreach (1, 2) as $x (0; . + $x)]", [[1, 3]]],
  ["[foreach (1, 2) as $x (0; . + $x; -.)]", [[-1, -3]]],
  ["def twice(f): f | f; def add($n; $m): $n + n + $m; 1 | twice(. + 3), add(2; 4)", [7, 8]],
  ["def outer: def inner: 1; inner + 1; outer, (def f(g): def h: g; h; f(3))", [2, 3]],
  ["def f: if . > 3 then . else (. + 1 | f) end; 0 | f", [4]],
  ["def f(x): 2 as $y | x; 1 as $y | f($y)", [1]],
  ["[..], ([[1]] | [..] | length)", [["x: y"], 3]],
  ['@base64, ("eyJzdWIiOiJtZSJ9" | @base64d | fromjson | .sub)', ["eDogeQ==", "me"]],
  ['"-_8=" | @base64d | length', [2]],
  ['("!" | @base64d)?, @json, @text, @uri', ['"x: y"', "x: y", "x%3A%20y"]],
  ['"<" | @html "<b>\\(.)</b>"', ["<b>&lt;</b>"]],
  ['capture("(?<name>[^:]+): (?<value>.*)")', [{ name: "x", value: "y" }]],
  ['match("(y)|(z)") | .offset, .length, .string, [.captures[].string]', [3, 1, "y", ["y", null]]],
  ['[scan("[xy]")], [scan("(.)(: )")]', [["x", "y"], [["x", ": "]]]],
  ['sub("x"; "a"), gsub("(?<c>[xy])"; "<\\(.c)>"), gsub("X"; "b"; "i")', ["a: y", "<x>: <y>", "b: y"]],
  ['[splits(", *")], split("[ :]+"; null)', [["x: y"], ["x", "y"]]],
  ['"aXbxc" | split("x"; "gi")', [["a", "b", "c"]]],
  [
    "[limit(2; 1, 2, 3)], [limit(0; 1)], first(range(5; 9)), last(range(3)), nth(1; 4, 5), [range(3)]",
    [[1, 2], [], 5, 2, 5, [0, 1, 2]],
  ],
  ["[.[]?], [empty], isempty(empty), isempty(1), (if empty then 1 else 2 end)", [[], [], true, false]],
  ['any(1, 2; . > 1), all(1, 2; . > 1), ("a" | IN("a", "b")), ("a" | in({a: 1}))', [true, false, true, true]],
  [
    "{a: 1} | to_entries, with_entries(.value as $v | {key, value: ($v + 1)}), map_values(. + 2)",
    [[{ key: "a", value: 1 }], { a: 2 }, { a: 3 }],
  ],
  ["[[3, [1]], 2] | flatten | ., min, max, sort_by(-.)", [[3, 1, 2], 1, 3, [3, 2, 1]]],
  ["[1 | until(. > 5; . * 2)], [1 | while(. < 5; . * 2)], [limit(3; 1 | repeat(. + 1))]", [[8], [1, 2, 4], [1, 2, 3]]],
  ['("0x1", "", "1e2", " 7 ") | tonumber? // "no"', ["no", "no", 100, 7]],
  ["explode | implode | utf8bytelength", [4]],
  ['[1, null, "a", true] | map(numbers), map(strings)', [[1], ["a"]]],
  ["[[2], [1, 9], [1], {}, [], null] | sort", [[null, [], [1], [1, 9], [2], {}]]],
  ["[{b: 1}, {a: 2}, {a: 1}] | sort", [[{ a: 1 }, { a: 2 }, { b: 1 }]]],
  ["{b: 2, a: 1} == {a: 1, b: 2}, [1] == 1, [2] < 1", [true, false, false]],
  ["1 + null, null + 1, [1] + [2], {a: 1} + {b: 2}", [1, 1, [1, 2], { a: 1, b: 2 }]],
  ['("a" + 1, 1 + "a")?, "no more"', ["no more"]],
  ['"abcde" | @base64d?', []],
])("jq %s", (program, expected) => {
  expect(compileJq(program)("x: y")).toEqual(expected)
})

test.each([
  ["", "unexpected"],
  ["(", "unexpected"],
  ["foo", "foo/0"],
  ["def f: 1; f(2)", "f/1"],
  ["def f(g): 1; g", "g/0"],
  ["def f: 1", ";"],
  ["$x", "$x"],
  [". as [$a] | $b", "$b"],
  [". as {a} | 1", ":"],
  ["reduce . as $x (0; $y)", "$y"],
  ["reduce . as $x (0)", ";"],
  ['"a', "without an end"],
  [". as x | 1", "$variable"],
  ["if . then 1", "end"],
  ["@sh", "@sh"],
  [".a = 1", "="],
  ["label $f | 1", "$f"],
])("jq %s is refused, and %j is in the reason", (program, reason) => {
  expect(() => compileJq(program)).toThrow(
    expect.objectContaining({ code: "bad-jq", message: expect.stringContaining(reason) }),
  )
})

test.each<[what: string, program: (depth: number) => string]>([
  ["brackets", (depth) => `${"[".repeat(depth)}1${"]".repeat(depth)}`],
  ["parentheses", (depth) => `${"(".repeat(depth)}1${")".repeat(depth)}`],
  ["patterns", (depth) => `null as ${"[".repeat(depth)}$a${"]".repeat(depth)} | 1`],
])("jq with %s in each other is read as deep as people write, and refused where it would never end", (_, program) => {
  expect(compileJq(program(40))("x: y")).toHaveLength(1)
  expect(() => compileJq(program(1_000))).toThrow(
    expect.objectContaining({ code: "bad-jq", message: expect.stringContaining("nested deeper") }),
  )
})

test("definitions that call themselves for ever end", () => {
  for (const program of [
    "def f: f; f",
    "def f: ., f; [f]",
    "[repeat(.)]",
    "def f(g): f(g | g); f(.)",
    "[range(1e12)]",
  ]) {
    expect(compileJq(program)("x: y")).toEqual([])
  }
})

test("a header is what a jq filter looks at, and its first boolean counts", () => {
  const { matches } = compileFilter({
    kind: "HeaderJq",
    value: 'split(": ") | "text", (.[0] == "x-user" and .[1] == "me")',
  })
  const request = { method: "GET", target: "/", body: undefined }
  expect(matches({ ...request, headers: [["X-User", "me"]] })).toBe(true)
  expect(matches({ ...request, headers: [["X-User", "you"]] })).toBe(false)
})

test("one header that matches is enough, whatever the others are", () => {
  for (const filter of [
    { kind: "Header", value: "^x-user: me$" },
    { kind: "HeaderJq", value: '. == "x-user: me"' },
  ] as const) {
    const { matches } = compileFilter(filter)
    const headers: [string, string][] = [
      ["host", "shop"],
      ["X-User", "me"],
      ["x-user", "you"],
    ]
    const request = { method: "GET", target: "/", body: undefined }
    expect(matches({ ...request, headers })).toBe(true)
    expect(matches({ ...request, headers: headers.toSpliced(1, 1) })).toBe(false)
  }
})

test("a body that did not come whole matches no filter of bodies", () => {
  const filter = { kind: "Body", value: { kind: "Json", value: { query: "$", matches: "" } } } as const
  const { matches, needsBody } = compileFilter(filter)
  expect(needsBody).toBe(true)
  expect(matches({ method: "POST", target: "/", headers: [], body: undefined })).toBe(false)
  expect(matches({ method: "POST", target: "/", headers: [], body: Buffer.from("1") })).toBe(true)
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

test("integers of up to 64 bits keep all their digits", () => {
  const ids = "[1234567890123456789,18446744073709551615,-9223372036854775808,9007199254740993,7]"
  for (const id of JSON.parse(ids.replaceAll(/-?\d+/g, '"$&"')) as string[]) {
    expect(matchesBody("$[*]", `^${id}$`, ids)).toBe(true)
    expect(matchesBody("$", `[^0-9-]${id}[^0-9]`, ids)).toBe(true)
  }
  expect(matchesBody("$[*]", "^1234567890123456800$", ids)).toBe(false)
  expect(matchesBody("$[?typeof(@) == 'number' && @ > 9007199254740992]", "^9007199254740993$", ids)).toBe(true)
  expect(matchesBody("$[?@ == 7]", "^7$", ids)).toBe(true)
  expect(matchesBody("$[*]", "^36893488147419103000$", "[36893488147419103232]")).toBe(true)
  expect(matchesBody("$[*]", "^18446744073709552000$", "[18446744073709551616]")).toBe(true)
  expect(matchesBody("$[*]", "^1.5$", "[1.50000000000000000]")).toBe(true)
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
    "a program that calls itself for ever, for many headers",
    { kind: "HeaderJq", value: "def f: f; f" },
    { headers: Array.from({ length: 256 }, (_, index) => [`x-${index}`, "y"] as const) },
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
  const started = process.cpuUsage()
  expect(matches({ method: "POST", target: "/", headers: [], body: undefined, ...request })).toBe(false)
  const { user, system } = process.cpuUsage(started)
  // About a tenth of a second; without a limit on all of it together some take minutes, and one the memory there is.
  expect((user + system) / 1000).toBeLessThan(1500 * slack)
})
