import { expect, test } from "bun:test"
import { chownSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { World } from "../../../core/client/engine.ts"
import { MemoryFiles } from "../../../test/fakes/memory-files.ts"
import { MemoryDns, MemoryIncoming, MemoryNetwork } from "../../../test/fakes/memory-network.ts"
import { installed, keepingLogger, runIn } from "../../../test/fakes/run-in-world.ts"
import { architectureOf, callNames } from "./kernel/abi.ts"
import { partsOf, watchRules } from "./kernel/rules.ts"

const program = join(import.meta.dir, "../../../test/fakes/hostile.py")
const ranges = { readyFrom: 0, liveFrom: 0, end: 0 }
/** Seconds of one run; longer runs by hand: HOSTILE_SECONDS=60. */
const seconds = Number(process.env["HOSTILE_SECONDS"] ?? 2)
/** These would only replace or stop the hostile program. */
const harmless = new Set(["execve", "execveat"])

function world(): World {
  return {
    files: new MemoryFiles({
      files: {
        "/remote/a.txt": "hello from the pod\n",
        "/remote/big": Buffer.alloc(2_000_000, 66),
        "/remote/dir/b": "b",
      },
    }),
    outgoing: new MemoryNetwork(),
    dns: new MemoryDns({}),
    incoming: new MemoryIncoming(),
    hostname: async () => "the-pod",
  }
}

test.if(installed("python3")).each([1, 2, 3])(
  "a program that makes random calls with hostile arguments harms only itself (seed %i)",
  async (seed) => {
    const names = callNames(architectureOf(process.arch)!)
    const watched = watchRules(partsOf(world()), ranges)
    const numbers = [...names].filter(([, name]) => watched.has(name) && !harmless.has(name)).map(([number]) => number)
    expect(numbers.length).toBeGreaterThan(40)
    const isRoot = process.getuid?.() === 0
    // It scribbles over the paths it knows, its own folder's too: what is left of one must not lead to where everybody may write.
    const folder = mkdtempSync(join(isRoot ? "/run" : tmpdir(), "podside-hostile-"))
    // The program gives up root's rights; the folder is where it may do damage.
    if (isRoot) chownSync(folder, 65534, 65534)
    const { log, lines } = keepingLogger()
    const started = Date.now()
    try {
      const args = [program, String(seed), String(seconds), numbers.join()]
      const { code } = await runIn(
        world(),
        ["timeout", "-s", "KILL", String(seconds + 90), "/usr/bin/python3", ...args],
        {
          cwd: folder,
          log,
        },
      )
      if (process.env["HOSTILE_SECONDS"]) console.log(`ended with ${code}`)
      // It may well have shot itself: overwritten its own memory, closed its own files.
      expect([0, 1, 132, 134, 135, 137, 139]).toContain(code)
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
    expect(Date.now() - started).toBeLessThan((seconds + 120) * 1000)
    expect(lines.filter((line) => line.includes("could not be answered"))).toEqual([])
    expect(await runIn(world(), ["cat", "/remote/a.txt"])).toEqual({ code: 0, output: "hello from the pod\n" })
  },
  (seconds + 180) * 1000,
)
