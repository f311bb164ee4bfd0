import { readFileSync } from "node:fs"
import { join } from "node:path"
import { runBounded } from "./bounded.ts"

export interface Counts {
  passed: number
  failed: number
  skipped: number
}

export interface FileResult extends Counts {
  path: string
  seconds: number
  /** Lines that say why something was skipped. */
  skipReasons: string[]
  /** Everything the file printed, when something failed. */
  output: string
}

/** `unit`: beside the code. `system`: whole programs, on this machine. `cluster`: needs a Kubernetes. */
export type Kind = "unit" | "system" | "cluster"
/** In the order they run in: what fails soon is told soon, and the short ones of the rest come last, to end together. */
export const kinds: readonly Kind[] = ["unit", "cluster", "system"]

/** How long one test may take that does not say so itself. */
const testLimitMs = 60_000
/** How long one file may take, in seconds. */
const limits: Record<Kind, number> = { unit: 600, system: 900, cluster: 1800 }

export interface TestFile {
  path: string
  kind: Kind
  /** A comment in it begins with "Runs alone:": it measures, or takes away what others need. */
  alone: boolean
  /** What only one file at a time can have: the operator's API, of which a cluster has one. */
  takes: string | undefined
}

export function findTests(root: string): TestFile[] {
  const found = [...new Bun.Glob("{core,agent,plugins,config,test}/**/*.test.ts").scanSync({ cwd: root })].sort()
  return found.map((path) => describeTest(path, readFileSync(join(root, path), "utf8")))
}

export function describeTest(path: string, source: string): TestFile {
  const needsCluster = path.startsWith("test/cluster/") || /^const cluster = useCluster\(/m.test(source)
  return {
    path,
    kind: needsCluster ? "cluster" : path.startsWith("test/") ? "system" : "unit",
    alone: /^\/\* Runs alone: \S/m.test(source),
    takes: /^(const \w+ = )?useOperator\(cluster\b/m.test(source) ? "the operator's API" : undefined,
  }
}

/** Every file runs in a process of its own: some of them join namespaces, change limits or leave threads. */
export async function runTestFile(root: string, path: string, kind: Kind): Promise<FileResult> {
  const command = [process.execPath, "test", "--timeout", String(testLimitMs), `./${path}`]
  const { code, timedOut, output, seconds } = await runBounded(command, { cwd: root, limitSeconds: limits[kind] })
  const count = (word: string) => Number(new RegExp(`^ *(\\d+) ${word}$`, "m").exec(output)?.[1] ?? 0)
  const counts = { passed: count("pass"), failed: count("fail"), skipped: count("skip") + count("todo") }
  // A file that died, hung, did not load or left early has failed even if no test of it could say so.
  const isSilent = counts.passed + counts.failed + counts.skipped === 0
  if ((code !== 0 || isSilent) && counts.failed === 0) counts.failed = 1
  const ending = timedOut ? `\nStopped after ${limits[kind]} s.` : code === null ? "\nEnded by a signal." : ""
  const skipReasons = output.split("\n").filter((line) => line.startsWith("SKIPPED"))
  return { path, seconds, ...counts, skipReasons, output: counts.failed ? output + ending : "" }
}
