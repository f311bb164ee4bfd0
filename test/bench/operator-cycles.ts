/*
 * What remains in an operator after sessions have come and gone: `bun test/bench/operator-cycles.ts [SESSIONS]`. One process of the
 * sources against the tests' cluster, asked as the API server asks it; its agent is a real one.
 */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { deployment } from "../cluster/samples/workloads.ts"
import { type ClientLink, conclude, spread, startOperatorProcess, until } from "./operator-process.ts"

const target = "web"
const total = Number(process.argv[2] ?? 10_000)
const steps = 5
const openAtOnce = 200
const startingAtOnce = 8
const startsMeasured = 40
/** A session is closed 6 s after its socket, as set below, and then remembered for five minutes. */
const forgottenMs = 330_000
const kindsShown = 12

const folder = mkdtempSync(join(tmpdir(), "podside-cycles-"))
const probeFile = join(folder, "heap")
const probe = join(import.meta.dir, "heap-probe.ts")
const main = join(import.meta.dir, "../../core/main.ts")
const operator = await startOperatorProcess([process.execPath, "--preload", probe, main], {
  HEAP_PROBE_FILE: probeFile,
  OPERATOR_SESSION_UNUSED_SECONDS: "6",
})
const { kubectl, child } = operator
process.on("exit", () => rmSync(folder, { recursive: true }))
await conclude(operator, measure)

async function measure(): Promise<void> {
  await kubectl(["apply", "-f", "-"], JSON.stringify(deployment(target)))
  await kubectl(["rollout", "status", `deployment/${target}`, "--timeout=90s"])
  await operator.ready()
  const certificate = await operator.credential()
  const kept = await operator.open(certificate, target)
  await report("at first")
  for (let step = 1; step <= steps; step++) {
    const start = performance.now()
    await comeAndGo(certificate, total / steps)
    console.log(`${total / steps} sessions: ${((performance.now() - start) / 1000).toFixed(0)} s`)
    console.log(`start of a session: ${await starts(certificate)}`)
    await report(`after ${(total / steps) * step}`)
  }
  await Bun.sleep(forgottenMs)
  await report("when all are forgotten")
  console.log(`start of a session: ${await starts(certificate)}`)
  kept.abort()
}

async function comeAndGo(certificate: string, count: number): Promise<void> {
  for (let done = 0; done < count; done += openAtOnce) {
    const links: ClientLink[] = []
    const more = async () => {
      for (let due = openAtOnce / startingAtOnce; due > 0; due--) links.push(await operator.open(certificate, target))
    }
    await Promise.all(Array.from({ length: startingAtOnce }, more))
    for (const link of links) link.abort()
  }
}

async function starts(certificate: string): Promise<string> {
  return spread(await operator.starts(certificate, target, startsMeasured))
}

async function report(when: string): Promise<void> {
  const heap = await heapNow()
  const leases = await kubectl(["get", "leases", "-o", "name"])
  const pods = await kubectl(["get", "pods", "-o", "name"])
  const count = (text: string) => text.split("\n").filter(Boolean).length
  const kinds = Object.entries(heap.objectTypeCounts).sort(([, a], [, b]) => b - a)
  const descriptors = readdirSync(`/proc/${child.pid}/fd`).length
  console.log(
    `${when}: ${operator.memory()}, heap ${(heap.heapSize / 2 ** 20).toFixed(1)} MiB, ${heap.objectCount} objects, ` +
      `${descriptors} descriptors, ${heap.objectTypeCounts["Timeout"] ?? 0} timers, ${count(leases)} leases, ${count(pods)} pods`,
  )
  console.log(
    `  ${kinds
      .slice(0, kindsShown)
      .map(([kind, number]) => `${kind} ${number}`)
      .join(", ")}`,
  )
}

interface Heap {
  heapSize: number
  objectCount: number
  objectTypeCounts: Record<string, number>
}

async function heapNow(): Promise<Heap> {
  rmSync(probeFile, { force: true })
  child.kill("SIGUSR2")
  await until("the heap's figures", async () => existsSync(probeFile))
  return JSON.parse(readFileSync(probeFile, "utf8"))
}
