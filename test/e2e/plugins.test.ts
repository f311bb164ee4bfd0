import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { podside } from "../binary.ts"

/* Plugins from outside, loaded into the compiled binary. */

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "podside-plugins-"))
}, 120_000)
afterAll(() => rm(folder, { recursive: true, force: true }))

/** A new plugin folder with these files. */
async function plugins(files: Record<string, string | Uint8Array>): Promise<string> {
  const made = await mkdtemp(join(folder, "set-"))
  for (const [name, content] of Object.entries(files)) {
    await mkdir(join(made, name, ".."), { recursive: true })
    await writeFile(join(made, name), content)
  }
  return made
}

const good = `
import { AppError, definePlugin, v } from "podside"
import * as valibot from "valibot"
import { noun } from "./_words.ts"

if (valibot.string !== v.string) throw new Error("a second valibot")
export default definePlugin({
  name: "good",
  config: v.strictObject({ limitSeconds: v.optional(valibot.number(), 3) }),
  operator: ({ config }) => ({
    async authorizeSession() {
      return { allow: false, code: "closed", reason: noun + String(config.limitSeconds) }
    },
    start: async () => { throw new AppError("never", "list and check start nothing") },
  }),
})
`
const words = `export const noun: string = "seconds"`

describe("a good plugin", () => {
  test("is listed behind the built-in ones with origin, hooks and settings in force", async () => {
    const set = await plugins({ "good.ts": good, "_words.ts": words })
    const { code, stdout, stderr } = await podside(["--plugins", set, "plugin", "list", "--json"])
    expect(stderr).toBe("")
    expect(code).toBe(0)
    expect(JSON.parse(stdout).at(-1)).toEqual({
      name: "good",
      origin: join(set, "good.ts"),
      needs: [],
      hooks: { operator: ["authorizeSession", "start"] },
      config: { limitSeconds: 3 },
    })
  })
  test("is found by PODSIDE_PLUGINS and reads --plugin-config", async () => {
    const set = await plugins({
      "good.ts": good,
      "_words.ts": words,
      "config/.settings.yaml": "good: { limitSeconds: 9 }",
    })
    const env = { PODSIDE_PLUGINS: set, PODSIDE_PLUGIN_CONFIG: join(set, "config/.settings.yaml") }
    const { stdout, stderr } = await podside(["plugin", "list"], { env })
    expect(stderr).toBe("")
    expect(stdout).toContain(`good (${join(set, "good.ts")})`)
    expect(stdout).toContain('{"limitSeconds":9}')
  })
  test("may be a folder and may be JavaScript", async () => {
    const js = `import { definePlugin, v } from "podside"
      export default definePlugin({ name: "in-a-folder", config: v.strictObject({}), client: () => ({}) })`
    const { stdout } = await podside(["--plugins", await plugins({ "in-a-folder/plugin.js": js }), "plugin", "list"])
    expect(stdout).toContain("in-a-folder")
  })
  test("stands alone among files that are none: hidden ones, declarations, tests, other modules, notes", async () => {
    const broken = "null.foo()"
    const set = await plugins({
      "good.ts": good,
      "_words.ts": words,
      ".good.ts": broken,
      "good.d.ts": broken,
      "good.test.ts": broken,
      "good.md": broken,
      "empty/notes.ts": broken,
      "node_modules/plugin.ts": broken,
    })
    await symlink(set, join(set, "here"))
    const { stdout, stderr } = await podside(["--plugins", set, "plugin", "list", "--json"])
    expect(stderr).toBe("")
    const fromHere = JSON.parse(stdout).filter(({ origin }: { origin: string }) => origin !== "built-in")
    expect(fromHere.map(({ name }: { name: string }) => name)).toEqual(["good"])
  })
  test("passes plugin check", async () => {
    const set = await plugins({ "good.ts": good, "_words.ts": words })
    const { code, stdout } = await podside(["plugin", "check", "good.ts"], { cwd: set })
    expect(stdout).toContain("The host accepts it")
    expect(stdout).toContain("operator: authorizeSession, start")
    expect(code).toBe(0)
  })
})

const plugin = (body: string) => `import { definePlugin, v } from "podside"
export default definePlugin({
  ${body}
})
`

describe("boot stops, naming file, line and reason:", () => {
  test.each([
    [
      "broken syntax",
      `import { definePlugin } from "podside"\n\nexport default definePlugin({ name: \n`,
      3,
      "Unexpected end of file",
    ],
    ["a throw while loading", "const x: number = 1\n\nnull.foo()\n", 3, "null.foo"],
    ["a module that is not there", `import odd from "not-there"\nexport default odd\n`, undefined, "not-there"],
    ["no default export", "export const name = 1\n", undefined, "no default export"],
    [
      "an unknown field",
      plugin(`name: "x", config: v.strictObject({}),\n  operators: () => ({}),`),
      4,
      'Did you mean "operator"?',
    ],
    ["no strict settings", plugin(`name: "x",\n  config: v.object({}),`), 4, "v.strictObject"],
    ["a name that could be none", plugin(`config: v.strictObject({}),\n  name: "X y",`), 4, "kebab-case"],
    [
      "a role that is no function",
      plugin(`name: "x", config: v.strictObject({}),\n  agent: {},`),
      4,
      "agent must be a function",
    ],
    ["another name than the file's", plugin(`name: "y", config: v.strictObject({}),`), undefined, 'named "y"'],
    [
      "an unknown hook",
      plugin(`name: "x", config: v.strictObject({}),\n\n  client: () => ({ onLunch() {} }),`),
      5,
      '"onLunch"',
    ],
    [
      "a misspelled guard",
      plugin(`name: "x", config: v.strictObject({}),\n  operator: () => ({ async authoriseSession() {} }),`),
      4,
      '"authorizeSession"',
    ],
    [
      "a role that throws",
      plugin(`name: "x", config: v.strictObject({}),\n  agent() {\n    throw new Error("no key file")\n  },`),
      5,
      "no key file",
    ],
    ["an unmet need", plugin(`name: "x", config: v.strictObject({}),\n  needs: ["tea"],`), 4, 'it needs "tea"'],
    ["bytes that are no text", new Uint8Array([0xff, 0xfe, 0x00, 0x80]), undefined, "cannot be read"],
    ["a zero byte", "export default 1\0", undefined, "it is no text"],
    ["ten megabytes", " ".repeat(10_000_000), undefined, "bytes are more than"],
  ])("%s", async (_, source, line, reason) => {
    const set = await plugins({ "x.ts": source })
    const { code, stdout, stderr } = await podside(["--plugins", set, "plugin", "list"])
    expect(stderr).toContain(`podside: ${join(set, "x.ts")}${line ? `:${line}` : ""}: `)
    expect(stderr).toContain(reason)
    expect(stderr).not.toMatch(/\n\s+at /)
    expect(stdout).toBe("")
    expect(code).toBe(1)
  })

  test("wrong settings, naming plugin, key and the nearest one", async () => {
    const set = await plugins({ "good.ts": good, "_words.ts": words, "config/.yaml": "good: { limitSecond: 9 }" })
    const { code, stderr } = await podside([
      "--plugins",
      set,
      "--plugin-config",
      join(set, "config/.yaml"),
      "plugin",
      "list",
    ])
    expect(stderr).toContain('Settings of plugin "good" are wrong: unknown key "limitSecond"')
    expect(stderr).toContain('Did you mean "limitSeconds"?')
    expect(code).toBe(1)
  })

  test.each([
    ["a YAML bomb", `a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\ngood: *c\n`],
    ["a cyclic anchor", "good: &a\n  x: *a\n"],
    ["a duplicate key", "good: {}\ngood: {}\n"],
    ["a list", "- good\n"],
    ["bytes that are no text", new Uint8Array([0xff, 0xfe, 0x00, 0x80])],
    ["ten megabytes", "#".repeat(10_000_000)],
  ])("settings that are %s", async (_, content) => {
    const set = await plugins({ "good.ts": good, "_words.ts": words, "config/.yaml": content })
    const { code, stderr } = await podside([
      "--plugins",
      set,
      "--plugin-config",
      join(set, "config/.yaml"),
      "plugin",
      "list",
    ])
    expect(stderr).toContain(join(set, "config/.yaml"))
    expect(stderr).toContain("[bad-plugin-config]")
    expect(stderr).not.toMatch(/\n\s+at /)
    expect(code).toBe(1)
  })

  test("an error nobody awaits", async () => {
    const source = `${good.replace('name: "good"', 'name: "x"')}\nPromise.reject(new Error("forgotten"))`
    const { code, stderr } = await podside([
      "--plugins",
      await plugins({ "x.ts": source, "_words.ts": words }),
      "plugin",
      "list",
    ])
    expect(stderr).toContain("podside: forgotten")
    expect(stderr).not.toMatch(/\n\s+at /)
    expect(code).toBe(1)
  })

  test("a plugin folder that is not there", async () => {
    const { code, stderr } = await podside(["--plugins", join(folder, "nowhere"), "plugin", "list"])
    expect(stderr).toContain("[no-plugin-folder]")
    expect(code).toBe(1)
  })
})

test("plugin types compile together with a plugin, and know its settings", async () => {
  const root = join(import.meta.dir, "../..")
  // Inside the checkout, because there the types of valibot and hono are found.
  const place = await mkdtemp(join(root, "dist/plugin-check-"))
  const check = async (plugin: string) => {
    await writeFile(join(place, "good.ts"), plugin)
    return Bun.spawnSync([join(root, "node_modules/.bin/tsc"), "-p", place]).stdout.toString()
  }
  try {
    const { stdout } = await podside(["plugin", "types"])
    await writeFile(join(place, "podside.d.ts"), stdout)
    await writeFile(join(place, "_words.ts"), words)
    // The declarations themselves are checked too, which skipLibCheck would spare.
    const compilerOptions = { skipLibCheck: false, skipDefaultLibCheck: true }
    await writeFile(
      join(place, "tsconfig.json"),
      JSON.stringify({ extends: "../../tsconfig.json", compilerOptions, include: ["."] }),
    )
    expect(await check(good)).not.toContain("plugin-check-")
    expect(await check(good.replace("limitSeconds: v", "limitSecs: v"))).toContain("limitSeconds")
  } finally {
    await rm(place, { recursive: true, force: true })
  }
}, 120_000)

test("every value the declarations promise is there at run time", async () => {
  const set = await plugins({
    "x.ts": `import * as api from "podside"\nthrow new Error(Object.keys(api).sort().join())`,
  })
  const { stderr } = await podside(["--plugins", set, "plugin", "list"])
  const there = /x\.ts:2: (\S+)/.exec(stderr)?.[1]?.split(",")
  const { stdout } = await podside(["plugin", "types"])
  const [api = ""] = stdout.split("\n}\n", 1)
  const files = [...api.matchAll(/export \* from "(podside\/[^"]+)"/g)].map(([, file]) => file as string)
  const promised = files.flatMap((file) => {
    const body = stdout.slice(stdout.indexOf(`declare module "${file}" {`)).split("\n}\n", 1)[0] as string
    return [...body.matchAll(/^ {2}export (?:const|function|class) (\w+)/gm)].map(([, name]) => name as string)
  })
  expect(promised).toContain("definePlugin")
  expect(there).toEqual([...promised, "v"].sort())
})
