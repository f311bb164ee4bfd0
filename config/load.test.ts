import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { mkdtempSync, readdirSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { basename, extname, join } from "node:path"
import { AppError } from "../core/errors.ts"
import { fileShape } from "./file-shape.ts"
import { loadConfig } from "./load.ts"
import type { ConfigProblems } from "./problems.ts"

interface Expectation {
  environment?: Record<string, string>
  config?: object
  warnings?: string[]
  error?: { code: string; problems?: string[]; message?: string[] }
}

const folder = join(import.meta.dir, "../test/cases/config")
const cases = readdirSync(folder)
  .filter((file) => /\.(json|yaml|toml)$/.test(file) && !file.endsWith(".expect.json"))
  .sort()

async function failure(run: Promise<unknown>): Promise<AppError> {
  const thrown = await run.then(
    () => undefined,
    (error) => error,
  )
  expect(thrown).toBeInstanceOf(AppError)
  return thrown
}

test.each(cases)("%s", async (file) => {
  const expected: Expectation = await Bun.file(join(folder, `${basename(file, extname(file))}.expect.json`)).json()
  const loading = loadConfig({
    file: join(folder, file),
    environment: expected.environment ?? {},
    gitBranch: () => expected.environment?.["MIRRORD_BRANCH_NAME"],
  })
  if (expected.error === undefined) {
    const { config, warnings } = await loading
    expect(config).toMatchObject(expected.config!)
    expect(warnings).toEqual(expected.warnings!)
    return
  }
  const error = await failure(loading)
  expect(error.code).toBe(expected.error.code)
  for (const part of expected.error.message ?? []) expect(error.message).toContain(part)
  if (expected.error.problems) expect([...(error as ConfigProblems).problems].sort()).toEqual(expected.error.problems)
})

test("what --resolved prints loads to the same configuration", async () => {
  const directory = mkdtempSync(join(tmpdir(), "podside-config-"))
  for (const file of ["long-forms.json", "short-forms.yaml", "operator-features.yaml", "same-in-toml.toml"]) {
    const { config } = await loadConfig({ file: join(folder, file), environment: { HOME: "/home/me" } })
    const again = join(directory, "again.json")
    await Bun.write(again, JSON.stringify(fileShape(config)))
    expect((await loadConfig({ file: again, environment: { HOME: "/home/me" } })).config).toEqual(config)
  }
  rmSync(directory, { recursive: true })
})

describe("the session key", () => {
  test("is made up when nobody gives one, and given otherwise", async () => {
    const made = await loadConfig({ environment: {} })
    expect(made.keyGenerated).toBe(true)
    expect(made.config.key).toMatch(/^[0-9a-f]{5}$/)
    const given = await loadConfig({ environment: { MIRRORD_KEY: "mine" } })
    expect([given.config.key, given.keyGenerated]).toEqual(["mine", false])
  })
})

describe("files that are none", () => {
  let directory: string
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), "podside-config-"))
  })
  afterAll(() => rmSync(directory, { recursive: true }))

  test.each<[string, string, string | Uint8Array, string]>([
    ["10 MB", "big.json", " ".repeat(10 * 1024 * 1024), "config-too-large"],
    ["binary", "binary.yaml", Uint8Array.from({ length: 5000 }, (_, i) => (i * 7919) & 255), "config-not-text"],
    ["text with a NUL", "nul.toml", "a = 1\0", "config-not-text"],
    ["brackets without end, JSON", "deep.json", "[".repeat(500_000), "config-syntax"],
    ["brackets without end, YAML", "deep.yaml", "[".repeat(500_000), "config-syntax"],
    ["brackets without end, TOML", "deep.toml", `a=${"[".repeat(500_000)}`, "config-syntax"],
    ["objects without end", "objects.json", '{"feature":'.repeat(90_000), "config-syntax"],
    ["another format", "config.ini", "a=1", "config-format"],
    ["an unfinished template", "t.json", '{"key": "{{ key"}', "config-template"],
    [
      "a template that repeats without end",
      "r.json",
      "{% for i in range(end=1000) %}{% for j in range(end=1000) %}xxxxxxxx{% endfor %}{% endfor %}",
      "config-template",
    ],
  ])("%s is a clear error", async (_name, file, content, code) => {
    const path = join(directory, file)
    await Bun.write(path, content)
    const error = await failure(loadConfig({ file: path, environment: {} }))
    expect(error.code).toBe(code)
    expect(error.message.length).toBeLessThan(500)
  })

  test("a file that is not there names its path", async () => {
    const error = await failure(loadConfig({ file: join(directory, "missing.json"), environment: {} }))
    expect(error.code).toBe("config-unreadable")
    expect(error.message).toContain("missing.json")
  })

  test("a folder is no file", async () => {
    expect((await failure(loadConfig({ file: directory, environment: {} }))).code).toBe("config-unreadable")
  })
})

test.each([
  ["MIRRORD_REMOTE_DNS", "maybe"],
  ["MIRRORD_AGENT_TTL", "soon"],
  ["MIRRORD_FILE_OPS", "1"],
])("a variable that cannot be read is named: %s", async (name, value) => {
  const error = await failure(loadConfig({ environment: { [name]: value } }))
  expect(error.code).toBe("config-bad-variable")
  expect(error.message).toContain(name)
})
