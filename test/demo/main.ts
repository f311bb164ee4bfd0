import { reportError } from "../../core/cli/report.ts"
import { AppError } from "../../core/errors.ts"
import { podsideBinary } from "../binary.ts"
import { openClusterStage } from "./cluster-stage.ts"
import { openNamespaceStage } from "./namespace-stage.ts"
import type { Stage } from "./stage.ts"
import { showEverything } from "./steps.ts"

/*
 * npm run demo               on this machine alone
 * npm run demo -- --cluster  on a real Kubernetes
 */

const seconds = (since: number) => `${((performance.now() - since) / 1000).toFixed(1)} s`
const say = (line: string) => console.log(line)

async function step(name: string, work: () => Promise<string>): Promise<void> {
  const started = performance.now()
  try {
    say(`✓ ${name}: ${await work()} (${seconds(started)})`)
  } catch (thrown) {
    say(`x ${name} (${seconds(started)})`)
    throw thrown
  }
}

async function demo(words: readonly string[]): Promise<number> {
  const unknown = words.find((word) => word !== "--cluster")
  if (unknown !== undefined)
    throw new AppError("usage", `Unknown option "${unknown}"`, {
      next: "There is only --cluster; PODSIDE_TEST_CLUSTER names another cluster than that of the tests.",
      exitCode: 2,
    })
  const started = performance.now()
  let binary = ""
  await step("podside", async () => {
    binary = await podsideBinary()
    return "built"
  })
  let stage: Stage | undefined
  await step("a pod", async () => {
    stage = words.includes("--cluster") ? await openClusterStage(say) : await openNamespaceStage(binary)
    return `"web" serves ${stage.place}`
  })
  let left: string[] = []
  try {
    await showEverything(binary, stage!, step)
  } finally {
    left = await stage!.stop()
  }
  await step("nothing left behind", async () => {
    if (left.length > 0) throw new AppError("demo-left-something", `left behind: ${left.join(", ")}`)
    return "no process, no namespace, no file"
  })
  say(`The demo took ${seconds(started)}.`)
  if (stage!.stays !== undefined) say(stage!.stays)
  return 0
}

process.exitCode = await demo(process.argv.slice(2)).catch(reportError)
