/*
 * The operator with a thousand idle sessions, one process of the compiled binary against the tests' cluster:
 * `bun test/bench/operator-sessions.ts [SESSIONS]`. It is asked as the API server asks it, and its agent is a real one.
 */
import { readFileSync } from "node:fs"
import { podsideBinary } from "../binary.ts"
import { deployment } from "../cluster/samples/workloads.ts"
import { asAdmin, type ClientLink, conclude, group, spread, startOperatorProcess } from "./operator-process.ts"

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
await conclude(operator, measure)

async function measure(): Promise<void> {
  for (const name of targets) await kubectl(["apply", "-f", "-"], JSON.stringify(deployment(name)))
  for (const name of targets) await kubectl(["rollout", "status", `deployment/${name}`, "--timeout=90s"])
  await operator.ready()
  print("memory without a session", operator.memory())
  const certificate = await operator.credential()
  const links: ClientLink[] = await Promise.all(targets.map((name) => operator.open(certificate, name)))
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
  print(`memory with ${links.length} idle sessions`, operator.memory())
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
  print(`memory with ${links.length} idle sessions, at rest`, operator.memory())
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
      links[place] = await operator.open(certificate, targets[place % targets.length]!)
    }
  }
  await Promise.all(Array.from({ length: atOnce }, more))
}

interface Starts {
  took: number[]
  /** Of the operator for each, in milliseconds: what a busy machine does not change. */
  cpuMs: number
}

async function starts(certificate: string): Promise<Starts> {
  const before = cpuMs()
  const took = await operator.starts(certificate, targets[0]!, startsMeasured)
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

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0
}

function print(what: string, value: string): void {
  console.log(`${what}: ${value}`)
}
