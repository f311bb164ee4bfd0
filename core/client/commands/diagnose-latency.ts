import type { Config } from "../../../config/load.ts"
import { flagOption, type RunCommand, textOption } from "../../cli/command.ts"
import { openKube } from "../../kube/kube.ts"
import type { Link } from "../../link.ts"
import type { ClientMessage, DaemonMessage } from "../../protocol/index.ts"
import { agentLost } from "../agent-faults.ts"
import type { AgentSession } from "../agent-session.ts"
import { commandLog, loadForCommand, progressOf } from "../load.ts"
import { openSession } from "../session/open.ts"
import { findOperator } from "../session/operator/find.ts"
import { answersPings, openPingSession } from "../session/operator/ping.ts"
import { kubeOptions } from "../settings.ts"

const pings = 100
const pingLimitMs = 30_000

/** Measures round trips to the operator, which needs no session; else to an agent: one to warm up, then a hundred. */
export const run: RunCommand = async ({ options }, context) => {
  const asJson = flagOption(options, "json")
  const step = progressOf(asJson ? { progress: "off" } : options)
  const { config } = await loadForCommand(options, step)
  const signal = context.stopOnSignals()
  const agentAddress = textOption(options, "agentAddress")
  const session =
    (agentAddress === undefined ? await operatorPing(config, signal) : undefined) ??
    (await openSession({ config, step, log: commandLog(), signal, agentAddress }))
  try {
    const ping = pinger(session.link, session.peer)
    await ping()
    await session.settled
    const times: number[] = []
    for (let count = 0; count < pings && !signal.aborted; count++) {
      const started = performance.now()
      await ping()
      times.push(performance.now() - started)
      if (!asJson) process.stdout.write(`ping ${count + 1}: ${times.at(-1)!.toFixed(2)}ms\n`)
    }
    process.stdout.write(asJson ? jsonOf(session.peer, times) : textOf(times))
    return 0
  } finally {
    await session.close()
  }
}

/** Undefined where there is no operator, or one that answers no pings. */
async function operatorPing(config: Config, signal: AbortSignal): Promise<AgentSession | undefined> {
  if (config.operator === false) return undefined
  const kube = openKube(kubeOptions(config))
  const operator = await findOperator(kube, config)
  return operator && answersPings(operator) ? openPingSession(kube, operator, signal) : undefined
}

function textOf(times: readonly number[]): string {
  const { min, max, average } = summary(times)
  const [least, most, middle] = [min, max, average].map((ms) => ms.toFixed(2))
  return `Latency statistics: min=${least}ms, max=${most}ms, avg=${middle}ms\n`
}

/** To a microsecond. */
const rounded = (ms: number) => Math.round(ms * 1_000) / 1_000

/** All times in milliseconds. */
function jsonOf(peer: string, times: readonly number[]): string {
  const { min, max, average } = summary(times)
  const sorted = [...times].sort((a, b) => a - b)
  const quantile = (part: number) => sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? 0
  const answer = {
    peer,
    pings: times.length,
    minMs: rounded(min),
    maxMs: rounded(max),
    averageMs: rounded(average),
    p50Ms: rounded(quantile(0.5)),
    p99Ms: rounded(quantile(0.99)),
  }
  return `${JSON.stringify(answer)}\n`
}

function summary(times: readonly number[]): { min: number; max: number; average: number } {
  if (times.length === 0) return { min: 0, max: 0, average: 0 }
  const average = times.reduce((sum, time) => sum + time, 0) / times.length
  return { min: Math.min(...times), max: Math.max(...times), average }
}

function pinger(link: Link<DaemonMessage, ClientMessage>, peer: string): () => Promise<void> {
  let waiting: { resolve(): void; reject(error: Error): void } | undefined
  const fail = (why: string) => waiting?.reject(agentLost(peer, why))
  link.receive((message) => {
    if (message.kind === "Pong") waiting?.resolve()
    if (message.kind === "OperatorPing") link.send({ kind: "OperatorPong", value: message.value })
    if (message.kind === "Close") fail(message.value)
  })
  link.resume()
  void link.ended.then(({ error }) => fail(error?.message ?? "closed"))
  return async () => {
    const timer = setTimeout(() => fail("no answer to a ping"), pingLimitMs)
    try {
      await new Promise<void>((resolve, reject) => {
        waiting = { resolve, reject }
        link.send({ kind: "Ping" })
      })
    } finally {
      clearTimeout(timer)
    }
  }
}
