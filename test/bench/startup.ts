import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { podsideBinary } from "../binary.ts"

/*
 * bun test/bench/startup.ts: how long the compiled binary takes to say something, on one core, against /bin/true and the
 * bare runtime in the same run. Every row is the median of many starts, rows taken in turn so that a noisy moment hits all.
 */

const rounds = 41
const plugins = 6

/** A folder with as many plugins as a busy installation has; each has settings, a guard, an observer and something to undo. */
async function pluginFolder(parent: string): Promise<string> {
  const folder = join(parent, "plugins")
  await mkdir(folder)
  for (let n = 1; n <= plugins; n++) {
    const source = `import { definePlugin, v } from "podside"
export default definePlugin({
  name: "plugin-${n}",
  ${n > 1 ? `needs: ["plugin-${n - 1}"],` : ""}
  config: v.strictObject({ limitSeconds: v.optional(v.pipe(v.number(), v.minValue(1)), 5), names: v.optional(v.array(v.string()), []) }),
  operator: ({ config, defer, log }) => {
    defer(() => log.debug("undone"))
    return {
      authorizeSession: async ({ namespace }) => config.names.includes(namespace) ? { allow: true } : { allow: false, code: "no", reason: "not listed" },
      onSessionOpened: () => {},
    }
  },
})
`
    await writeFile(join(folder, `plugin-${n}.ts`), source)
  }
  return folder
}

const work = await mkdtemp(join(tmpdir(), "podside-startup-"))
try {
  const binary = await podsideBinary()
  const empty = join(work, "empty.js")
  await writeFile(empty, "")
  const folder = await pluginFolder(work)
  const rows: Record<string, string[]> = {
    "/bin/true": ["/bin/true"],
    "bun, empty program": [process.execPath, empty],
    "podside --help": [binary, "--help"],
    "podside plugin list": [binary, "plugin", "list"],
    [`podside plugin list, ${plugins} plugins more`]: [binary, "--plugins", folder, "plugin", "list"],
  }
  const times = new Map<string, number[]>(Object.keys(rows).map((name) => [name, []]))
  for (let round = -3; round < rounds; round++) {
    for (const [name, command] of Object.entries(rows)) {
      const started = performance.now()
      const { exitCode } = Bun.spawnSync(["taskset", "1", ...command], {
        cwd: "/",
        stdout: "ignore",
        stderr: "inherit",
      })
      if (exitCode !== 0) throw new Error(`${name} failed`)
      // The first rounds bring the files into memory.
      if (round >= 0) times.get(name)?.push(performance.now() - started)
    }
  }
  const median = (name: string) => times.get(name)!.sort((a, b) => a - b)[Math.floor(rounds / 2)]!
  const base = median("/bin/true")
  const print = (name: string, ms: number) => console.log(`${name.padEnd(42)} ${ms.toFixed(1).padStart(6)} ms`)
  for (const name of Object.keys(rows)) print(name, median(name) - base)
  console.log(`(less the start of /bin/true, ${base.toFixed(1)} ms)`)
  const list = Object.keys(rows)
  print(`host boot with ${plugins} outside plugins`, median(list[4]!) - median(list[2]!))
} finally {
  await rm(work, { recursive: true, force: true })
}
