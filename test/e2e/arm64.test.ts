import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { guestImage } from "./arm64/archive.ts"
import { lackOfEmulator, runMachine } from "./arm64/machine.ts"

/* Runs alone: it emulates a machine with two processors. */

/*
 * podside on arm64, on a kernel of that processor, with Debian's programs for it: suites of the engine and of the agent, and
 * both together as the demo has them. PODSIDE_SHOW_MACHINE=1 shows the machine's console.
 */

/**
 * Test files to run there. All of the engine's suites take some minutes, so that these are the ones which say most in little
 * time; PODSIDE_ARM64_TESTS names others, separated by blanks.
 */
const suites = process.env["PODSIDE_ARM64_TESTS"]?.split(/\s+/) ?? [
  "core/linux/namespace.test.ts",
  "agent/files/files.test.ts",
  "plugins/interception/client/network.test.ts",
  "test/e2e/incoming/rules.test.ts",
  "test/demo/demo.test.ts",
]
/** How long one of them may take, and all with what comes before, in seconds. */
const limitSeconds = { suite: 400, all: 850 }

const missing = process.arch === "x64" ? lackOfEmulator() : ["an x86-64 machine: here the suites run anyway"]
if (missing.length > 0) console.warn(`SKIPPED: podside on arm64, emulated, needs ${missing.join(", ")}`)

describe.skipIf(missing.length > 0)("podside on arm64", () => {
  const folder = mkdtempSync(join(tmpdir(), "podside-arm64-"))
  const said = new Map<string, { code: number; output: string }>()

  beforeAll(async () => {
    const image = await guestImage(folder, suites, limitSeconds.suite)
    let current: { code: number; output: string } | undefined
    await runMachine(image, limitSeconds.all, (line) => {
      if (process.env["PODSIDE_SHOW_MACHINE"]) console.log(line)
      const [, what, suite, code] = /^@@@ (begin|end) (\S+)(?: (\d+))?/.exec(line) ?? []
      if (what === "begin") {
        current = { code: -1, output: "" }
        said.set(suite!, current)
      } else if (current) {
        if (what === "end") current.code = Number(code)
        else current.output += `${line}\n`
      }
    })
  }, limitSeconds.all * 1000)
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  test.each(suites)("%s", (suite) => {
    const { code, output } = said.get(suite) ?? { code: -1, output: "it was not run" }
    if (code !== 0) console.error(output)
    const count = (word: string) => Number(new RegExp(`^ *(\\d+) ${word}$`, "m").exec(output)?.[1] ?? 0)
    expect([code, count("fail"), count("skip")]).toEqual([0, 0, 0])
    expect(count("pass")).toBeGreaterThan(0)
  })
})
