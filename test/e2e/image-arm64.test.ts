import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { mkdir, mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { findCLibrary } from "../../config/build/c-library.ts"
import { version } from "../../package.json"

/* The image for arm64, made on another machine; what is in it runs in an emulator of that processor. */

const root = join(import.meta.dir, "../..")
const emulator = process.arch === "arm64" ? [] : [Bun.which("qemu-aarch64-static")]
const missing = [
  ...(findCLibrary("arm64") === undefined ? ["its C library (Debian: libc6-arm64-cross)"] : []),
  ...(emulator.includes(null) ? ["an emulator (Debian: qemu-user-static)"] : []),
]
if (missing.length > 0) console.warn(`SKIPPED: the image for arm64 needs ${missing.join(" and ")}`)

const limitMs = 300_000

describe.skipIf(missing.length > 0)("the image for arm64", () => {
  let folder: string
  let files: string

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "podside-arm64-"))
    files = join(folder, "root")
    await mkdir(files)
    const tar = join(folder, "image.tar")
    const build = run([process.execPath, "build.ts", "--image", "--arch", "arm64", "--outfile", tar])
    expect(build).toMatchObject({ stderr: "", exitCode: 0 })
    expect(run(["tar", "-xf", tar, "-C", folder]).exitCode).toBe(0)
    const [{ Config, Layers }] = await Bun.file(join(folder, "manifest.json")).json()
    expect(await Bun.file(join(folder, Config)).json()).toMatchObject({ architecture: "arm64", os: "linux" })
    expect(run(["tar", "-xf", join(folder, Layers[0]), "-C", files]).exitCode).toBe(0)
  }, limitMs)
  afterAll(() => rm(folder, { recursive: true, force: true }))

  function run(command: string[], environment: Record<string, string> = {}) {
    const env = { PATH: process.env["PATH"], ...environment }
    const { stdout, stderr, exitCode } = Bun.spawnSync(command, { cwd: root, env })
    return { stdout: stdout.toString(), stderr: stderr.toString(), exitCode }
  }

  /** The image's program with the image's own C library. */
  const emulated = (words: string[], environment?: Record<string, string>, calledAs = "podside") => {
    const [program] = emulator
    const loader = join(files, "lib/ld-linux-aarch64.so.1")
    const library = ["--library-path", join(files, "lib/aarch64-linux-gnu"), "--argv0", calledAs]
    const binary = join(files, "podside")
    return program
      ? run([program, "-0", calledAs, "-L", files, binary, ...words], environment)
      : run([loader, ...library, binary, ...words], environment)
  }

  test("every program in it is one of that processor", async () => {
    const found = run(["find", files, "-type", "f", "-perm", "/111"]).stdout.trim().split("\n")
    expect(found.length).toBeGreaterThanOrEqual(2)
    for (const path of found) {
      const header = Buffer.from(await Bun.file(path).slice(0, 20).arrayBuffer())
      // ELF, for AArch64.
      expect([path, header.toString("latin1", 1, 4), header.readUInt16LE(18)]).toEqual([path, "ELF", 183])
    }
  })

  test(
    "its program runs, as the client and as the agent",
    () => {
      expect(emulated(["--version"])).toEqual({ stdout: `podside ${version}\n`, stderr: "", exitCode: 0 })
      expect(emulated(["--help"], {}, "mirrord-agent").stdout).toContain("Usage: mirrord-agent")
      expect(emulated(["--no-such-flag"]).exitCode).toBe(2)
    },
    limitMs,
  )

  test(
    "its runtime reads and writes every message of the protocol",
    () => {
      const words = ["test", "--timeout", "120000", "./core/protocol/golden.test.ts"]
      const { stderr, exitCode } = emulated(words, { BUN_BE_BUN: "1" })
      expect(stderr).toMatch(/^ *7\d\d pass$/m)
      expect(stderr).toMatch(/^ *0 fail$/m)
      expect(exitCode).toBe(0)
    },
    limitMs,
  )
})
