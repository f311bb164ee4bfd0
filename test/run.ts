import { cpus } from "node:os"
import { join } from "node:path"
import { errorText } from "../core/errors.ts"
import { noClusterReason } from "./cluster/connection.ts"
import { clusterPrograms, installPackages, testPrograms } from "./cluster/packages.ts"
import { areBuilt } from "./cluster/programs.ts"
import { killAll, runBounded } from "./run/bounded.ts"
import { failuresIn } from "./run/failures.ts"
import { type Job, runJobs } from "./run/schedule.ts"
import { type Counts, findTests, kinds, runTestFile, type TestFile } from "./run/test-file.ts"

/*
 * npm test                everything there is: types, lint, build, every test file; ends with one line of counts
 * npm test -- core/host   only the test files whose path contains one of the words
 *
 * A cluster that was not there before is taken down again; PODSIDE_KEEP_CLUSTER=1 leaves it for the next time.
 */

const root = join(import.meta.dir, "..")
/** Files whose tests have deadlines: more neighbours than processors would make them late. */
const mostAtOnce = 2
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

async function runFile({ path, kind }: TestFile): Promise<void> {
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

/** The tests' cluster, where there can be one; else the files of that kind skip themselves and say why. */
function ownCluster() {
  if (process.env["PODSIDE_TEST_KUBECONFIG"] || noClusterReason() !== null) return undefined
  const command = (...words: string[]) => [process.execPath, join(root, "test/cluster/main.ts"), ...words]
  let wasThere = false
  const cluster = {
    isUp: false,
    async up() {
      wasThere = (await runBounded(command("status"), { cwd: root, limitSeconds: 60 })).code === 0
      say("The cluster comes up; the first time on a machine its programs are built, which takes a while ...")
      // Long steps show that they live; npm test as a whole would look hung otherwise.
      const onLine = (line: string) => say(`     ${line}`)
      const { code, seconds, output } = await runBounded(command("up"), { cwd: root, limitSeconds: 2700, onLine })
      cluster.isUp = code === 0
      total[cluster.isUp ? "passed" : "failed"]++
      say(`${cluster.isUp ? "ok  " : "FAIL"} cluster up (${seconds.toFixed(1)} s)`)
      if (!cluster.isUp) failures.push(`cluster up\n${lastLines(output, 12)}`)
    },
    async down() {
      if (!wasThere && process.env["PODSIDE_KEEP_CLUSTER"] !== "1") await check("cluster down", command("down"), 300)
    },
  }
  return cluster
}

/** What tests need of this machine. Without it they would skip themselves, each saying what it lacks. */
async function installTestPrograms(): Promise<void> {
  if (process.getuid?.() !== 0 || !Bun.which("apt-get")) return
  try {
    await installPackages(say, { ...clusterPrograms, ...testPrograms })
  } catch (error) {
    total.failed++
    failures.push(`packages\n${lastLines(errorText(error), 12)}`)
    say(`FAIL packages\n${errorText(error)}`)
  }
}

async function runTests(files: readonly TestFile[]): Promise<void> {
  const cluster = files.some(({ kind }) => kind === "cluster") ? ownCluster() : undefined
  const up: Job | undefined = cluster && { run: cluster.up }
  const jobOf = (file: TestFile): Job =>
    file.kind === "cluster" && cluster
      ? { ...file, after: up, run: async () => void (cluster.isUp && (await runFile(file))) }
      : { ...file, run: () => runFile(file) }
  // The longest chain of files that wait for each other goes first.
  const ranks = ({ kind, takes }: TestFile) => (takes ? 0 : 1 + kinds.indexOf(kind))
  const jobs = files.toSorted((one, other) => ranks(one) - ranks(other)).map(jobOf)
  try {
    // Compilers take the whole machine for minutes, which tests with deadlines would feel.
    const isCompiled = areBuilt()
    if (up && !isCompiled) await up.run()
    await runJobs(up && isCompiled ? [up, ...jobs] : jobs, Math.min(mostAtOnce, cpus().length))
  } finally {
    await cluster?.down()
  }
}

async function main(words: readonly string[]): Promise<void> {
  let files = findTests(root).filter(({ path }) => words.length === 0 || words.some((word) => path.includes(word)))
  if (words.length === 0) {
    await installTestPrograms()
    await check("types", [bin("tsc"), "--noEmit"], 300)
    await check("lint and format", [bin("biome"), "check", "--error-on-warnings", "."], 120)
    if (!(await check("build", [process.execPath, join(root, "build.ts")], 300))) {
      say("The tests of whole programs are left out, because the build failed.")
      files = files.filter(({ kind }) => kind === "unit")
    }
  }
  await runTests(files)
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
