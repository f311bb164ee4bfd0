import { cpus } from "node:os"
import { join } from "node:path"
import { noClusterReason } from "./cluster/connection.ts"
import { killAll, runBounded } from "./run/bounded.ts"
import { failuresIn } from "./run/failures.ts"
import { type Counts, findTests, type Kind, runTestFile } from "./run/test-file.ts"

/*
 * npm test                everything there is: types, lint, build, every test file; ends with one line of counts
 * npm test -- core/host   only the test files whose path contains one of the words
 *
 * A cluster that was not there before is taken down again; PODSIDE_KEEP_CLUSTER=1 leaves it for the next time.
 */

const root = join(import.meta.dir, "..")
const bin = (name: string) => join(root, "node_modules/.bin", name)
const total: Counts = { passed: 0, failed: 0, skipped: 0 }
/** What failed, each with the beginning of its error. */
const failures: string[] = []
const skipReasons = new Set<string>()

/** What tests print may hold any bytes; control characters would turn a log into a binary file. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: those are what is looked for
const controls = /[\0-\x08\x0b\x0c\x0e-\x1a\x7f]/g
const say = (line: string) => void process.stdout.write(`${line.replace(controls, "?")}\n`)

function lastLines(text: string, count: number): string {
  const lines = text.split("\n").filter((line) => line.trim() !== "")
  return lines
    .slice(-count)
    .map((line) => `  ${line}`)
    .join("\n")
}

/** A program that is one check by itself. */
async function check(name: string, command: string[], limitSeconds: number): Promise<boolean> {
  const { code, timedOut, output, seconds } = await runBounded(command, { cwd: root, limitSeconds })
  const isGood = code === 0
  total[isGood ? "passed" : "failed"]++
  say(`${isGood ? "ok  " : "FAIL"} ${name} (${seconds.toFixed(1)} s)`)
  if (!isGood) {
    failures.push(`${name}\n${lastLines(output, 12)}`)
    say(output.trimEnd() + (timedOut ? `\nStopped after ${limitSeconds} s.` : ""))
  }
  return isGood
}

async function runFiles(kind: Kind, paths: readonly string[], atOnce: number): Promise<void> {
  const waiting = [...paths]
  const worker = async () => {
    for (let path = waiting.shift(); path; path = waiting.shift()) {
      const result = await runTestFile(root, path, kind)
      for (const key of ["passed", "failed", "skipped"] as const) total[key] += result[key]
      for (const reason of result.skipReasons) skipReasons.add(reason)
      const counts = [`${result.passed} passed`]
      if (result.failed) counts.push(`${result.failed} failed`)
      if (result.skipped) counts.push(`${result.skipped} skipped`)
      say(`${result.failed ? "FAIL" : "ok  "} ${path} (${counts.join(", ")}, ${result.seconds.toFixed(1)} s)`)
      for (const reason of result.skipReasons) say(`     ${reason}`)
      if (result.failed) {
        for (const failure of failuresIn(result.output)) failures.push(`${path} > ${failure}`)
        say(result.output.trimEnd())
      }
    }
  }
  await Promise.all(Array.from({ length: atOnce }, worker))
}

/** Runs `use` with the tests' cluster up, where there can be one; else the files skip themselves and say why. */
async function withCluster(use: () => Promise<void>): Promise<void> {
  if (process.env["PODSIDE_TEST_KUBECONFIG"] || noClusterReason() !== null) return use()
  const cluster = (...words: string[]) => [process.execPath, join(root, "test/cluster/main.ts"), ...words]
  const before = await runBounded(cluster("status"), { cwd: root, limitSeconds: 60 })
  say("The cluster comes up; the first time on a machine its programs are built, which takes a while ...")
  // Long steps show that they live; npm test as a whole would look hung otherwise.
  const up = await runBounded(cluster("up"), { cwd: root, limitSeconds: 2700, onLine: (line) => say(`     ${line}`) })
  total[up.code === 0 ? "passed" : "failed"]++
  say(`${up.code === 0 ? "ok  " : "FAIL"} cluster up (${up.seconds.toFixed(1)} s)`)
  if (up.code !== 0) failures.push(`cluster up\n${lastLines(up.output, 12)}`)
  try {
    if (up.code === 0) await use()
  } finally {
    if (before.code !== 0 && process.env["PODSIDE_KEEP_CLUSTER"] !== "1")
      await check("cluster down", cluster("down"), 300)
  }
}

async function main(words: readonly string[]): Promise<void> {
  const tests = findTests(root).filter(({ path }) => words.length === 0 || words.some((word) => path.includes(word)))
  const paths = (kind: Kind) => tests.filter((each) => each.kind === kind).map(({ path }) => path)
  let isBuilt = true
  if (words.length === 0) {
    await check("types", [bin("tsc"), "--noEmit"], 300)
    await check("lint and format", [bin("biome"), "check", "--error-on-warnings", "."], 120)
    isBuilt = await check("build", [process.execPath, join(root, "build.ts")], 300)
  }
  await runFiles("unit", paths("unit"), Math.min(2, cpus().length))
  if (isBuilt) {
    await runFiles("system", paths("system"), 1)
    if (paths("cluster").length > 0) await withCluster(() => runFiles("cluster", paths("cluster"), 1))
  } else {
    say("The tests of whole programs were left out, because the build failed.")
  }
  for (const reason of skipReasons) say(reason)
  sayFailures()
  const skipped = total.skipped > 0 ? `, ${total.skipped} skipped` : ""
  say(`${total.passed} passed, ${total.failed} failed${skipped}`)
  process.exit(total.failed === 0 ? 0 : 1)
}

function sayFailures(): void {
  if (failures.length > 0) say(`\nFailed:\n${failures.join("\n")}\n`)
}

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => {
    killAll()
    sayFailures()
    process.exit(130)
  })
}
await main(process.argv.slice(2))
