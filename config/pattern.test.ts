import { expect, test } from "bun:test"
import { localByDefault, notFoundByDefault, readRemoteByDefault } from "./file-lists.ts"
import { compilePattern, patternProblem } from "./pattern.ts"

test.each([
  ["(?i)^/DATA/", "/data/x", "/y/data/"],
  ["(?P<year>\\d{4})-\\k<year>", "2024-2024", "2024-2025"],
  ["\\A/a\\z", "/a", "/ab"],
  ["^[[:alpha:]]+$", "abc", "ab1"],
  ["\\x{e9}$", "caf\u00e9", "cafe"],
  ["\\p{Lu}", "aB", "ab"],
  ["\\\\A", "\\A", "A"],
  ["(?<!x)y", "ay", "xy"],
  ["^/a(?i)/b$", "/a/B", "/A/b"],
  ["^a(?i)b|c$", "C", "Ab"],
  ["^(x(?i)y)z$", "xYz", "xYZ"],
  ["^(?i:a)b$", "Ab", "AB"],
  ["(?i)^a(?-i)b$", "Ab", "aB"],
  ["^(?:a|(?s)b.c)$", "b\nc", "a\nc"],
  ["^(?P<n>a|b)(?P=n)$", "bb", "ab"],
  ["^\\pL\\PL$", "a1", "aa"],
  ["^\\p{L}\\-\\_\\#/$", "a-_#/", "a--#/"],
  ["^[a-z&&[^aeiou]]$", "b", "e"],
  ["^[\\w--\\d]$", "b", "5"],
  ["^[a[(]|]$", "(", "b"],
  ["^[[:^digit:]]$", "a", "5"],
  ["^[]a]$", "]", "b"],
  ["^[^]a]$", "b", "]"],
  ["^[[:punct:]]$", "{", "a"],
  ["^[({|/]$", "|", "a"],
])("the Rust pattern %s matches %s and not %s", (source, yes, no) => {
  expect(compilePattern(source).test(yes)).toBe(true)
  expect(compilePattern(source).test(no)).toBe(false)
})

test("a bad pattern is named, a good one is not", () => {
  expect(() => compilePattern("a(")).toThrow(expect.objectContaining({ code: "config-bad-pattern" }))
  for (const bad of ["a(", "a)", "[a", "[[:nope:]]", "(?>a)", "(?x) a", "*a", "a\\", "(?<a>x)(?<a>y)"]) {
    expect([bad, patternProblem(bad)]).toEqual([bad, expect.any(String)])
  }
  expect(patternProblem("a()")).toBeUndefined()
})

test("the default lists tell local, remote and hidden files apart", () => {
  const around = {
    home: "/home/m.e",
    workingDirectory: "/projects/app+1",
    temporaryDirectory: "/scratch",
    executable: "/opt/tools/podside",
    platform: "linux",
  } as const
  const matches = (list: readonly string[], path: string) =>
    list.some((pattern) => compilePattern(pattern, "i").test(path))
  const local = localByDefault(around)
  for (const path of [
    "/usr/lib/libc.so",
    "/etc/passwd",
    "/x/app.JS",
    "/projects/app+1/a",
    "/scratch/x",
    "/home/m.e/.x",
    "/",
  ]) {
    expect([path, matches(local, path)]).toEqual([path, true])
  }
  for (const path of ["/data/app.conf", "/app/config", "/var/lib/x", "/projects/apppp1/a", "/homes/x"]) {
    expect([path, matches(local, path)]).toEqual([path, false])
  }
  expect(matches(readRemoteByDefault, "/etc/ssl/certs/ca.pem")).toBe(true)
  expect(matches(readRemoteByDefault, "/etc/passwd")).toBe(false)
  expect(matches(notFoundByDefault(around), "/home/m.e/.kube/config")).toBe(true)
  expect(matches(notFoundByDefault(around), "/home/mxe/.kube/config")).toBe(false)
})
