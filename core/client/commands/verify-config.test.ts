import { expect, test } from "bun:test"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

const main = join(import.meta.dir, "../../main.ts")

async function podside(args: readonly string[], file?: string): Promise<{ code: number; out: string; err: string }> {
  const directory = mkdtempSync(join(tmpdir(), "podside-verify-"))
  const path = join(directory, "mirrord.yaml")
  if (file !== undefined) await Bun.write(path, file)
  const child = Bun.spawn([process.execPath, main, ...args, ...(file === undefined ? [] : [path])], {
    env: { PATH: process.env["PATH"], HOME: "/home/me" },
    stdout: "pipe",
    stderr: "pipe",
  })
  const [out, err, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited])
  rmSync(directory, { recursive: true })
  return { code, out, err }
}

test("a good file is a success with its target and the kinds that fit", async () => {
  const { code, out } = await podside(["verify-config"], "target: deployment/api\n")
  expect(code).toBe(0)
  expect(JSON.parse(out)).toMatchObject({
    type: "Success",
    config: { path: { deployment: "api" }, namespace: null },
    warnings: [],
    compatible_target_types: expect.arrayContaining(["targetless", "pod", "service"]),
  })
  expect(JSON.parse(out).resolved_config).toBeUndefined()
})

test.each(["target: deployment/api\nfeature: { copy_target: true }\n", "target: job/once\n"])(
  "what wants a copy of its target is told that there is none yet: %j",
  async (file) => {
    const { code, out } = await podside(["verify-config"], file)
    expect(code).toBe(0)
    expect(JSON.parse(out)).toMatchObject({
      type: "Success",
      warnings: expect.arrayContaining([expect.stringContaining("podside makes none yet")]),
      compatible_target_types: ["pod", "deployment", "job", "cronjob", "statefulset", "replicaset"],
    })
  },
)

test("a profile is left to the session, and said to be", async () => {
  const { out } = await podside(["verify-config"], "profile: slow\n")
  expect(JSON.parse(out).warnings).toEqual([expect.stringContaining('profile "slow" was not applied')])
})

test("--resolved adds every key", async () => {
  const { out } = await podside(["verify-config", "--resolved"], "key: k\n")
  expect(JSON.parse(out).resolved_config).toMatchObject({ key: "k", agent: { ttl: 1 }, target: { path: null } })
})

test("a bad file fails with its errors and no stack trace; for an IDE the exit code is 0", async () => {
  const plain = await podside(["verify-config"], "targett: x\n")
  expect(plain.code).toBe(1)
  expect(JSON.parse(plain.out)).toEqual({ type: "Fail", errors: ['unknown key "targett". Did you mean "target"?'] })
  expect(plain.err).toBe("")
  const ide = await podside(["verify-config", "--ide"], "targett: x\n")
  expect(ide.code).toBe(0)
  expect(ide.out).toBe(plain.out)
})

test("without a target stealing is an error, but not for an IDE", async () => {
  const file = "feature: { network: { incoming: steal } }\n"
  expect((await podside(["verify-config"], file)).code).toBe(1)
  expect(JSON.parse((await podside(["verify-config", "--ide"], file)).out).type).toBe("Success")
})

test("config schema prints a JSON Schema that knows the short forms", async () => {
  const { code, out } = await podside(["config", "schema"])
  expect(code).toBe(0)
  const schema = JSON.parse(out)
  expect(schema.additionalProperties).toBe(false)
  expect(Object.keys(schema.properties)).toContain("feature")
  expect(JSON.stringify(schema.properties.feature.properties.fs.anyOf)).toContain("localwithoverrides")
})
