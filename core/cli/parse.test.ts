import { describe, expect, test } from "bun:test"
import { AppError } from "../errors.ts"
import { nearest } from "../nearest.ts"
import { parseOption } from "./options.ts"
import { parseWords } from "./parse.ts"

const options = [
  { flags: "-t, --target <path>", about: "", env: "TARGET" },
  { flags: "-f, --config-file [path]", about: "" },
  { flags: "-c, --accept-invalid-certificates[=bool]", about: "" },
  { flags: "-L, --port-mapping, --port-mappings <mapping...>", about: "" },
  { flags: "-A, --all-namespaces", about: "", env: "ALL" },
  { flags: "-e, --ephemeral-container", about: "" },
  { flags: "-o, --output <form>", about: "", choices: ["json", "table"] },
].map(parseOption)

const parse = (line: string, more: object = {}, env = {}) =>
  parseWords(line.split(" ").filter(Boolean), { options, program: "podside x", ...more }, env)

function usageError(line: string, more: object = {}, env = {}): AppError {
  try {
    parse(line, more, env)
  } catch (thrown) {
    expect(thrown).toBeInstanceOf(AppError)
    expect((thrown as AppError).exitCode).toBe(2)
    return thrown as AppError
  }
  throw new Error(`"${line}" was accepted`)
}

describe("accepted", () => {
  test.each([
    ["a value in the next word", "--target pod/a", { target: "pod/a" }],
    ["a value behind the equals sign", "--target=pod/a=b", { target: "pod/a=b" }],
    ["a short name with its value apart", "-t pod/a", { target: "pod/a" }],
    ["a short name with its value attached", "-tpod/a", { target: "pod/a" }],
    ["the last of two values", "-t a -t b", { target: "b" }],
    [
      "short flags together, the last one with a value",
      "-Aet x",
      { allNamespaces: true, ephemeralContainer: true, target: "x" },
    ],
    ["an optional value that is there", "-f file.json", { configFile: "file.json" }],
    ["an optional value that is not there", "-f -A", { configFile: true, allNamespaces: true }],
    ["a value only behind the equals sign", "-c=false", { acceptInvalidCertificates: "false" }],
    ["a repeated option by either name", "-L a:1 --port-mappings b:2", { portMapping: ["a:1", "b:2"] }],
    ["a value that begins with a dash but is no option", "--target -----BEGIN", { target: "-----BEGIN" }],
  ])("%s", (_: string, line: string, expected: object) => {
    expect(parse(line)).toEqual({ args: [], options: expected } as never)
  })

  test("an equals-only option leaves the next word alone", () => {
    expect(parse("-c word")).toEqual({ args: ["word"], options: { acceptInvalidCertificates: true } })
  })
  test("everything behind -- is a word", () => {
    expect(parse("-A -- --target x").args).toEqual(["--target", "x"])
  })
  test("passThrough leaves the options of the program to the program", () => {
    expect(parse("-A ls -t --foo -- x", { passThrough: true })).toEqual({
      args: ["ls", "-t", "--foo", "--", "x"],
      options: { allNamespaces: true },
    })
  })
  test("without passThrough options may follow words", () => {
    expect(parse("a -A b").args).toEqual(["a", "b"])
  })
  test("the environment stands in for what is absent, and only for that", () => {
    expect(parse("", {}, { TARGET: "env", ALL: "true" }).options).toEqual({ target: "env", allNamespaces: true })
    expect(parse("-t line", {}, { TARGET: "env", ALL: "false" }).options).toEqual({ target: "line" })
  })
})

describe("refused", () => {
  test.each([
    ["an unknown option, naming the nearest", "--targt x", 'Unknown option "--targt"', 'Did you mean "--target"?'],
    ["an unknown short option", "-z", 'Unknown option "-z"', 'See "podside x --help"'],
    ["a missing value", "--target", '"--target" wants a value', "--help"],
    ["an option in place of a value", "-t --output json", '"-t" wants a value', "--help"],
    ["a value for a flag", "--all-namespaces=yes", "takes no value", "--help"],
    ["a value that is no choice", "-o jsn", "json, table", 'Did you mean "json"?'],
  ])("%s", (_, line, message, next) => {
    const error = usageError(line)
    expect(error.message).toContain(message)
    expect(error.next).toContain(next)
  })
  test("too few and too many words", () => {
    expect(usageError("", { args: "<file>" }).message).toContain("<file> is missing")
    expect(usageError("a b", { args: "<file>" }).message).toContain('"b"')
    expect(parse("a b c", { args: "<program> [args...]" }).args).toEqual(["a", "b", "c"])
    expect(parse("", { args: "[file]" }).args).toEqual([])
  })
  test("a flag's variable that is neither true nor false", () => {
    expect(usageError("", {}, { ALL: "yes" }).message).toContain('ALL must be "true" or "false"')
  })
})

describe("nearest", () => {
  test("finds typing mistakes", () => {
    expect(nearest("authoriseSession", ["authorizeFile", "authorizeSession"])).toBe("authorizeSession")
    expect(nearest("exce", ["ls", "exec"])).toBe("exec")
  })
  test("stays silent about what is merely different", () => {
    expect(nearest("banana", ["exec", "ls"])).toBeUndefined()
  })
})
