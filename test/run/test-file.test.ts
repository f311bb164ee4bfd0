import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { until } from "../until.ts"
import { runBounded } from "./bounded.ts"
import { failuresIn } from "./failures.ts"
import { describeTest, runTestFile } from "./test-file.ts"

/* A runner that counts wrongly would hide everything else. */

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "podside-runner-"))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

async function outcome(name: string, body: string) {
  await writeFile(join(folder, `${name}.test.ts`), `import { beforeAll, expect, test } from "bun:test"\n${body}`)
  const { passed, failed, skipped, skipReasons, output } = await runTestFile(folder, `${name}.test.ts`, "unit")
  return { counts: [passed, failed, skipped], skipReasons, output }
}

describe("counts", () => {
  test.each([
    ["passed and skipped", `test("a", () => {}); test("b", () => {}); test.skip("c", () => {})`, [2, 0, 1]],
    ["failed", `test("a", () => {}); test("b", () => expect(1).toBe(2))`, [1, 1, 0]],
    ["a file that does not load", `throw new Error("odd")`, [0, 1, 0]],
    ["a file that ends the process", `test("a", () => process.exit(0)); test("b", () => {})`, [0, 1, 0]],
    ["a file that crashes", `test("a", () => process.kill(process.pid, "SIGKILL"))`, [0, 1, 0]],
    ["a preparation that fails", `beforeAll(() => { throw new Error("odd") }); test("a", () => {})`, [0, 1, 0]],
    ["a file without tests", `console.log("nothing here")`, [0, 1, 0]],
  ])("%s", async (name, body, counts) => {
    expect((await outcome(name.replaceAll(" ", "-"), body)).counts).toEqual(counts)
  })

  test("reasons for skipping are kept, the output only of what failed", async () => {
    const skipping = await outcome("why", `console.warn("SKIPPED: no moon"); test.skip("a", () => {})`)
    expect(skipping).toMatchObject({ skipReasons: ["SKIPPED: no moon"], output: "" })
    expect((await outcome("loud", `console.log("look here"); test("a", () => expect(1).toBe(2))`)).output).toContain(
      "look here",
    )
  })
})

describe("what a file needs", () => {
  const alone = "/* Runs alone: it measures. */"
  test.each([
    ["core/a.test.ts", "", { kind: "unit", alone: false, takes: undefined }],
    ["test/e2e/a.test.ts", "", { kind: "system", alone: false }],
    ["test/cluster/a.test.ts", "", { kind: "cluster" }],
    ["core/a.test.ts", `const cluster = useCluster("a")`, { kind: "cluster", takes: undefined }],
    ["test/e2e/a.test.ts", `const cluster = useCluster("a")\nuseOperator(cluster)`, { takes: "the operator's API" }],
    ["core/a.test.ts", `import "b"\n\n${alone}\ntest()`, { alone: true }],
    ["core/a.test.ts", `test("${alone}")`, { alone: false }],
  ])("%s with %j", (path, source, needs) => {
    expect(describeTest(path, source)).toMatchObject({ path, ...needs })
  })
})

describe("failures", () => {
  test("each is named with the beginning of its error and its place", async () => {
    const { output } = await outcome(
      "failing",
      `test("good", () => console.log("error: of no concern"))
       test("differs", () => { console.log("said"); expect({ a: 1 }).toEqual({ a: 2 }) })
       test("throws", () => { throw new TypeError("odd thing") })
       test("hangs", () => new Promise(() => {}), 50)
       test("long", () => { throw new Error("line\\n".repeat(40)) })
       test("good again", () => {})`,
    )
    const [differs, throws, hangs, long, ...more] = failuresIn(output)
    expect(differs).toStartWith("differs\n  error: expect(received).toEqual(expected)")
    expect(differs).toMatch(/- {3}"a": 2,\n {2}\+ {3}"a": 1,[\s\S]*failing\.test\.ts:3/)
    expect(throws).toMatch(/^throws\n {2}TypeError: odd thing\n +at [^\n]*failing\.test\.ts:4[^\n]*$/)
    expect(hangs).toBe("hangs\n  this test timed out after 50ms.")
    expect(long!.split("\n").length).toBeLessThan(16)
    expect(long).toContain("failing.test.ts:6")
    expect(more).toEqual([])
  })
  test("a file that died shows its last words", async () => {
    const { output } = await outcome("died", `test("a", () => { console.log("farewell"); process.exit(0) })`)
    expect(failuresIn(output)[0]).toMatch(/^the file itself\n[\s\S]*farewell/)
  })
})

describe("bounds", () => {
  test("what hangs is ended with everything it started", async () => {
    const script = "sleep 1000 & echo $!; wait"
    const { code, timedOut, output } = await runBounded(["sh", "-c", script], { cwd: folder, limitSeconds: 1 })
    expect({ code, timedOut }).toEqual({ code: null, timedOut: true })
    await until(() => !isAlive(Number(output)), "it is still there")
  })
  test("what ends leaves no child behind", async () => {
    const script = "sleep 1000 >/dev/null 2>&1 & echo $!"
    const { code, output } = await runBounded(["sh", "-c", script], { cwd: folder, limitSeconds: 20 })
    expect(code).toBe(0)
    await until(() => !isAlive(Number(output)), "it is still there")
  })
  test("a program that is not there is a failure, not a crash", async () => {
    const { code, output } = await runBounded(["/no/such/program"], { cwd: folder, limitSeconds: 5 })
    expect(code).toBeNull()
    expect(output).toContain("ENOENT")
  })
})

/** A killed process ends when the kernel gets to it, and a child of nobody may stay as a zombie; that counts as gone. */
function isAlive(pid: number): boolean {
  expect(pid).toBeGreaterThan(1)
  const status = Bun.spawnSync(["ps", "-o", "stat=", "-p", String(pid)])
    .stdout.toString()
    .trim()
  return status !== "" && !status.startsWith("Z")
}
