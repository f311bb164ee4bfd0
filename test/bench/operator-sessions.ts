/*
 * The operator with a thousand idle sessions, one process of the compiled binary against the tests' cluster:
 * `bun test/bench/operator-sessions.ts [SESSIONS]`. It is asked as the API server asks it, and its agent is a real one.
 */
import { readFileSync } from "node:fs"
import { podsideBinary } from "../binary.ts"
import { deployment } from "../cluster/samples/workloads.ts"
import { asAdmin, type ClientLink, group, startOperatorProcess } from "./operator-process.ts"

const total = Number(process.argv[2] ?? 1_000)
const activeSessions = 200
/** An agent serves 512 connections. */
const sessionsPerTarget = 250
const targets = Array.from({ length: Math.ceil(total / sessionsPerTarget) }, (_, i) => `web-${i}`)
const atOnce = 8
const startsMeasured = 20
const polls = 1_000
const pollEveryMs = 5
const settleMs = 5_000
/** After half a minute at rest the operator gives memory back. */
const restMs = 40_000
const endLimitMs = 30_000

const operator = await startOperatorProcess([await podsideBinary()])
const { ask, kubectl, child } = operator
const open = (certificate: string, target = targets[0]!) => operator.open(certificate, target)
try {
  await measure()
} catch (thrown) {
  console.error(thrown)
  process.exitCode = 1
} finally {
  await operator.stop()
}
process.exit()

async function measure(): Promise<void> {
  for (const name of targets) await kubectl(["apply", "-f", "-"], JSON.stringify(deployment(name)))
  for (const name of targets) await kubectl(["rollout", "status", `deployment/${name}`, "--timeout=90s"])
  await operator.ready()
  print("memory without a session", memory())
  const certificate = await operator.credential()
  const links: ClientLink[] = await Promise.all(targets.map((name) => open(certificate, name)))
  const first = await starts(certificate)
  await openMany(links, certificate, activeSessions)
  const active = links.slice(0, activeSessions)
  const traffic = setInterval(() => {
    // Each of them asks its agent for something five times in a second.
    for (let i = 0; i < active.length / 20; i++) {
      active[Math.floor(Math.random() * active.length)]?.send({ kind: "Ping" })
    }
  }, 10)
  print(`discovery poll with ${activeSessions} active sessions`, spread(await pollDiscovery()))
  clearInterval(traffic)
  await openMany(links, certificate, total)
  await Bun.sleep(settleMs)
  print(`memory with ${links.length} idle sessions`, memory())
  const last = await starts(certificate)
  for (const [count, { took, cpuMs }] of [
    [targets.length, first],
    [total, last],
  ] as const) {
    print(`start of a session when there are ${count}`, `${spread(took)}; operator's CPU ${cpuMs.toFixed(1)} ms`)
  }
  const ratio = median(last.took) / median(first.took)
  console.log(`ratio of the medians: ${ratio.toFixed(2)}, of the CPU ${(last.cpuMs / first.cpuMs).toFixed(2)}`)
  await Bun.sleep(restMs)
  print(`memory with ${links.length} idle sessions, at rest`, memory())
  const rested = await starts(certificate)
  print("start of a session after that rest", `${spread(rested.took)}; operator's CPU ${rested.cpuMs.toFixed(1)} ms`)
  print(`its end with ${total} sessions, by SIGTERM`, await endInOrder())
  for (const link of links) link.abort()
}

async function endInOrder(): Promise<string> {
  const start = performance.now()
  child.kill("SIGTERM")
  const code = await Promise.race([child.exited, Bun.sleep(endLimitMs)])
  return code === undefined
    ? `not within ${endLimitMs} ms`
    : `${(performance.now() - start).toFixed(0)} ms, exit code ${code}`
}

async function openMany(links: ClientLink[], certificate: string, wanted: number): Promise<void> {
  const more = async () => {
    while (links.length < wanted) {
      const place = links.push(undefined as never) - 1
      links[place] = await open(certificate, targets[place % targets.length])
    }
  }
  await Promise.all(Array.from({ length: atOnce }, more))
}

interface Starts {
  /** Milliseconds from the request to the first answer of the agent's side. */
  took: number[]
  /** Of the operator for each, in milliseconds: what a busy machine does not change. */
  cpuMs: number
}

async function starts(certificate: string): Promise<Starts> {
  const took: number[] = []
  const before = cpuMs()
  for (let i = 0; i < startsMeasured; i++) {
    const start = performance.now()
    const link = await open(certificate)
    took.push(performance.now() - start)
    link.abort()
  }
  return { took, cpuMs: (cpuMs() - before) / startsMeasured }
}

async function pollDiscovery(): Promise<number[]> {
  const took: number[] = []
  for (let i = 0; i < polls; i++) {
    const start = performance.now()
    const answer = await ask(group, { headers: asAdmin })
    await answer.text()
    took.push(performance.now() - start)
    await Bun.sleep(pollEveryMs)
  }
  return took
}

/** The operator's, user and system, in milliseconds. The kernel counts in hundredths of a second. */
function cpuMs(): number {
  const fields = readFileSync(`/proc/${child.pid}/stat`, "utf8").split(") ")[1]!.split(" ")
  return (Number(fields[11]) + Number(fields[12])) * 10
}

function memory(): string {
  const status = readFileSync(`/proc/${child.pid}/status`, "utf8")
  const mebibytes = (name: string) =>
    (Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(status)?.[1]) / 1024).toFixed(0)
  return `RSS ${mebibytes("VmRSS")} MiB (own ${mebibytes("RssAnon")}, of files ${mebibytes("RssFile")})`
}

function spread(values: readonly number[]): string {
  const sorted = [...values].sort((a, b) => a - b)
  const at = (share: number) => (sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0).toFixed(1)
  return `p50 ${at(0.5)} ms, p90 ${at(0.9)} ms, p99 ${at(0.99)} ms`
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0
}

function print(what: string, value: string): void {
  console.log(`${what}: ${value}`)
}
