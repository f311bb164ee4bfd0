import { existsSync } from "node:fs"
import { mkdir, mkdtemp, readFile, rename, rm } from "node:fs/promises"
import { homedir } from "node:os"
import { join } from "node:path"

export interface Runtime {
  target: Bun.Build.CompileTarget
  executable: string
}

/** Suffix of the binary's name to the npm package with its runtime. */
export const platforms = {
  "linux-x64": "@oven/bun-linux-x64",
  "linux-arm64": "@oven/bun-linux-aarch64",
  "linux-x64-musl": "@oven/bun-linux-x64-musl",
  "linux-arm64-musl": "@oven/bun-linux-aarch64-musl",
  "darwin-x64": "@oven/bun-darwin-x64",
  "darwin-arm64": "@oven/bun-darwin-aarch64",
  "windows-x64": "@oven/bun-windows-x64",
} as const

export type Platform = keyof typeof platforms

/**
 * The runtime of a platform, in the version of this project's own bun, from npm's package of it. It is fetched once into
 * the user's cache folder, and only what package-lock.json has the hash of is accepted.
 */
export async function runtimeFor(root: string, platform: Platform): Promise<Runtime> {
  const target = `bun-${platform}` as Bun.Build.CompileTarget
  const cache = join(process.env["XDG_CACHE_HOME"] || join(homedir(), ".cache"), "podside", `bun-${Bun.version}`)
  const executable = join(cache, platform, platform.startsWith("windows") ? "bin/bun.exe" : "bin/bun")
  if (!existsSync(executable)) await fetchRuntime(root, platforms[platform], cache, join(cache, platform))
  return { target, executable }
}

async function fetchRuntime(root: string, name: string, cache: string, destination: string): Promise<void> {
  console.log(`Fetching ${name}@${Bun.version} ...`)
  await mkdir(cache, { recursive: true })
  const work = await mkdtemp(join(cache, "fetch-"))
  try {
    const packed = await output(["npm", "pack", `${name}@${Bun.version}`, "--json", "--loglevel=error"], work)
    const [{ filename, integrity }] = JSON.parse(packed) as [{ filename: string; integrity: string }]
    const lock = JSON.parse(await readFile(join(root, "package-lock.json"), "utf8"))
    const pinned = lock.packages[`node_modules/${name}`]?.integrity
    if (integrity !== pinned)
      throw new Error(`${name} is not what package-lock.json names: ${integrity}, not ${pinned}`)
    await output(["tar", "-xzf", filename], work)
    await rename(join(work, "package"), destination)
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

async function output(command: string[], cwd: string): Promise<string> {
  const child = Bun.spawn(command, { cwd, stdout: "pipe", stderr: "inherit" })
  const text = await new Response(child.stdout).text()
  if ((await child.exited) !== 0) throw new Error(`${command.join(" ")} failed`)
  return text
}
