import { expect, test } from "bun:test"
import { compileRegex } from "./regex.ts"

test.each([
  ["abc", "xxabcxx", true],
  ["^abc$", "xxabcxx", false],
  ["^x-user: (me|you)$", "x-user: you", true],
  ["^x-user: (me|you)$", "x-user: them", false],
  ["a.c", "a\nc", false],
  ["(?s)a.c", "a\nc", true],
  ["(?i)ABC", "xabc", true],
  ["(?i:a)B", "AB", true],
  ["(?i:a)B", "Ab", false],
  ["[a-f0-9]{4}-[^x]", "beef-y", true],
  ["[a-f0-9]{4}-[^x]", "beef-x", false],
  [String.raw`\d{2,3}$`, "id 1", false],
  [String.raw`\d{2,3}$`, "id 12", true],
  [String.raw`^\w+\s\S+$`, "ab cd", true],
  [String.raw`\bfoo\b`, "a foo b", true],
  [String.raw`\bfoo\b`, "afoob", false],
  ["(?=.*a)(?=.*b)^..$", "ba", true],
  ["^(?!.*test).*prod", "a test prod", false],
  ["^(?!.*test).*prod", "a prod", true],
  ["(?<=user=)me", "user=me", true],
  ["(?<=user=)me", "for me", false],
  ["(?<!no-)cache", "no-cache", false],
  ["(?<!no-)cache", "the cache", true],
  [String.raw`^(\w+)=\1$`, "ab=ab", true],
  [String.raw`^(\w+)=\1$`, "ab=ac", false],
  [String.raw`^(a)(b)\2\1$`, "abba", true],
  [String.raw`^(a)(b)\2\1$`, "abab", false],
  [String.raw`^[\d]+$`, "12", true],
  [String.raw`^[\d]+$`, "1d", false],
  ["^[\xe9-\u0130]+$", "\xea\u0100", true],
  ["^[\xe9-\u0130]+$", "\u0131", false],
  ["[^\0]", "\0", false],
  ["[\0]", "\0", true],
  [String.raw`^(?P<x>a|b)\k<x>$`, "bb", true],
  [String.raw`\p{L}+é`, "caféé", true],
  ["[[:alpha:]_]+9", "ab_9", true],
  ["[]a]+$", "]a]", true],
  [String.raw`[\d-]+`, "-", true],
  ["(?x) a b # comment", "ab", true],
  ["", "", true],
  ["x*", "", true],
  ["(a*)*b", "aaab", true],
  ["(|a)+$", "aa", true],
  ["a{0}b", "b", true],
] as const)("%s on %j is %p", (pattern, text, expected) => {
  expect(compileRegex(pattern).test(text)).toBe(expected)
})

test("patterns that explode elsewhere are answered, rightly and soon", () => {
  const started = performance.now()
  for (const pattern of ["(a+)+$", "(a|aa)+$", "(a|a?)+$", "(.*a){12}$", "(x+x+)+y"]) {
    compileRegex(`^${pattern}`).test(`${"a".repeat(5000)}!`)
    expect(compileRegex("^(a+)+$").test("a".repeat(5000))).toBe(true)
  }
  expect(compileRegex("^(a+)+b|^a+!$").test(`${"a".repeat(5000)}!`)).toBe(true)
  // An exploding matcher would need longer than the universe exists.
  expect(performance.now() - started).toBeLessThan(25_000)
})

test("back-references are cut off instead of going on for ever", () => {
  expect(compileRegex(String.raw`^(a+)+\1(a+)+b$`).test("a".repeat(40))).toBe(false)
})

test.each([
  "(",
  "a)",
  "[a",
  "*a",
  "a{3,2}",
  "a{5000}",
  String.raw`\q`,
  String.raw`\1`,
  "(?>a)",
  "[z-a]",
  String.raw`[a-\d]`,
  "[[:nothing:]]",
  "a++",
  "(".repeat(200),
  "((a{999}){999}){999}",
])("%s is refused", (pattern) => {
  expect(() => compileRegex(pattern)).toThrow(expect.objectContaining({ code: "bad-regex" }))
})

test("case is ignored on demand, also inside negated classes", () => {
  expect(compileRegex("^X-User: ME$", true).test("x-user: me")).toBe(true)
  expect(compileRegex("^[^a]$", true).test("A")).toBe(false)
})

const found = (pattern: string, text: string, from = 0) => {
  const match = compileRegex(pattern).find(text, from, { steps: 100_000 })
  return match && [match.start, match.end, ...match.groups.map(({ start, end, name }) => [start, end, name])]
}

test.each<[string, string, number, unknown]>([
  ["b+", "abbc", 0, [1, 3]],
  ["b+?", "abbc", 0, [1, 2]],
  ["b+", "abbc", 2, [2, 3]],
  ["b", "abbc", 3, undefined],
  ["a|ab", "ab", 0, [0, 1]],
  ["(a)(?<n>b)?", "ac", 0, [0, 1, [0, 1, undefined], [-1, -1, "n"]]],
  ["<(.*?)>", "<a><b>", 0, [0, 3, [1, 2, undefined]]],
  ["<(.*)>", "<a><b>", 0, [0, 6, [1, 5, undefined]]],
  ["(a{1,3}?)(a*)", "aaaa", 0, [0, 4, [0, 1, undefined], [1, 4, undefined]]],
  ["(a*)*b", "aab", 0, [0, 3, [0, 2, undefined]]],
  [String.raw`(\w)\1`, "abba", 0, [1, 3, [1, 2, undefined]]],
  ["(?=(b))", "ab", 0, [1, 1, [1, 2, undefined]]],
])("%s in %j from %d is found at %j", (pattern, text, from, expected) => {
  expect(found(pattern, text, from)).toEqual(expected as never)
})
