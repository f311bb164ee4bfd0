import type { Config } from "../../../config/load.ts"

/** Programs that build: what they read, write and fetch belongs to this machine. */
const buildTools = [
  "as",
  "cc",
  "ld",
  "go",
  "air",
  "asm",
  "cc1",
  "cgo",
  "dlv",
  "gcc",
  "git",
  "link",
  "math",
  "cargo",
  "hpack",
  "rustc",
  "compile",
  "collect2",
  "cargo-watch",
  "debugserver",
  "jspawnhelper",
  "bazel-real",
  "clang",
]
/** Serves the IDE, not the program. */
const debuggerWorker = "*JetBrains.Debugger.Worker"

/** Names of the programs the session leaves alone, as `LaunchOptions.skipped` wants them. */
export function skippedPrograms(
  config: Pick<Config, "skip_processes" | "skip_build_tools" | "skip_extra_build_tools">,
): string[] {
  const tools = config.skip_build_tools ? [...buildTools, ...(config.skip_extra_build_tools ?? [])] : []
  return [...tools, debuggerWorker, ...(config.skip_processes ?? [])].filter((name) => name !== "")
}
