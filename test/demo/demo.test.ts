import { expect, test } from "bun:test"
import { podsideBinary } from "../binary.ts"
import { run } from "../cluster/run.ts"

/** Asks the kernel as the demo does: without the right it cannot run. */
const namespaces = Bun.spawnSync(["unshare", "--user", "--map-root-user", "--net", "--mount", "true"]).exitCode === 0
if (!namespaces)
  process.stderr.write("SKIPPED: the demo needs unprivileged user namespaces, which this machine refuses\n")

test.skipIf(!namespaces)(
  "the demo shows every feature and leaves nothing behind",
  async () => {
    await podsideBinary()
    const main = new URL("./main.ts", import.meta.url).pathname
    const { code, stdout, stderr } = await run([process.execPath, main], { timeoutSeconds: 240 })
    expect(stderr).toBe("")
    expect(
      stdout
        .split("\n")
        .filter((line) => line.startsWith("✓"))
        .map((line) => /^✓ ([^:,]+)/.exec(line)?.[1]),
    ).toEqual(
      expect.arrayContaining([
        "remote environment",
        "remote file",
        "a call by its cluster name",
        "mirror",
        "steal with a header filter",
        "nothing left behind",
      ]),
    )
    expect(code).toBe(0)
  },
  // On a machine that is emulated it takes a while.
  250_000,
)
