import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { type LoadedConfig, loadConfig } from "../load.ts"
import type { ConfigProblems } from "../problems.ts"

/** Rule, a file that breaks it, a part of what is said, and the nearest file that keeps it. */
export type Rule = [rule: string, breaks: string, said: string, keeps: string]

/** Loads a file with that content. */
export async function load(yaml: string, absentIsTargetless = false): Promise<LoadedConfig> {
  const folder = mkdtempSync(join(tmpdir(), "podside-rules-"))
  try {
    const file = join(folder, "mirrord.yaml")
    await Bun.write(file, yaml)
    return await loadConfig({ file, environment: { HOME: "/home/me" }, absentIsTargetless })
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** Everything that is said against it, or "". */
export async function problems(yaml: string, absentIsTargetless?: boolean): Promise<string> {
  const thrown = await load(yaml, absentIsTargetless).then(
    () => undefined,
    (error: ConfigProblems) => error,
  )
  return thrown === undefined ? "" : [thrown.message, ...(thrown.problems ?? [])].join("\n")
}

export const queue = (text: string) => `feature: { split_queues: { q: { ${text} } } }`
export const branch = (text: string) => `feature: { db_branches: [{ ${text} }] }`
export const url = "connection: { url: { type: env, variable: DB_URL } }"
