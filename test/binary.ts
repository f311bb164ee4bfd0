import { stat } from "node:fs/promises"
import { join } from "node:path"

const root = join(import.meta.dir, "..")
const binary = join(root, "dist/podside")
let built: Promise<string> | undefined

/** Path of `dist/podside`, built first when any source is newer than it. */
export function podsideBinary(): Promise<string> {
  return (built ??= buildIfOld())
}

async function buildIfOld(): Promise<string> {
  const built = await modified(binary)
  const inside = new Bun.Glob("{core,agent,plugins,config}/**/*").scanSync({ cwd: root })
  const sources = ["build.ts", "package.json", "package-lock.json", ...inside]
  let isOld = built === 0
  for (const source of sources) {
    if (isOld) break
    isOld = !source.includes(".test.") && (await modified(join(root, source))) > built
  }
  if (!isOld) return binary
  const build = Bun.spawn([process.execPath, join(root, "build.ts")], { stdout: "pipe", stderr: "pipe" })
  const output = Promise.all([new Response(build.stdout).text(), new Response(build.stderr).text()])
  if ((await build.exited) !== 0) throw new Error(`The build failed:\n${(await output).join("")}`)
  return binary
}

async function modified(path: string): Promise<number> {
  try {
    return (await stat(path)).mtimeMs
  } catch {
    return 0
  }
}

export interface Outcome {
  code: number
  stdout: string
  stderr: string
}

/** Runs podside to its end. The environment is empty but for PATH, HOME and what is given. */
export async function podside(
  args: readonly string[],
  options: { env?: Record<string, string>; cwd?: string; argv0?: string } = {},
): Promise<Outcome> {
  const child = Bun.spawn([await podsideBinary(), ...args], {
    env: { PATH: process.env["PATH"] ?? "", HOME: process.env["HOME"] ?? "/", ...options.env },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    cwd: options.cwd ?? "/",
    ...(options.argv0 && { argv0: options.argv0 }),
  })
  const [stdout, stderr, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ])
  return { code, stdout, stderr }
}
