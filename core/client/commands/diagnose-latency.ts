import { type RunCommand, textOption } from "../../cli/command.ts"
import { AppError } from "../../errors.ts"
import type { Link } from "../../link.ts"
import type { ClientMessage, DaemonMessage } from "../../protocol/index.ts"
import { loadForCommand, progressOf } from "../load.ts"
import { openSession } from "../session/open.ts"

const pings = 100
const pingLimitMs = 30_000

/** Measures round trips to the agent: one to warm up, then a hundred. */
export const run: RunCommand = async ({ options }, context) => {
  const step = progressOf(options)
  const { config } = await loadForCommand(options, step)
  const signal = context.stopOnSignals()
  const session = await openSession({ config, step, signal, agentAddress: textOption(options, "agentAddress") })
  try {
    const ping = pinger(session.link, session.peer)
    await ping()
    const times: number[] = []
    for (let count = 0; count < pings && !signal.aborted; count++) {
      const started = performance.now()
      await ping()
      times.push(performance.now() - started)
      process.stdout.write(`ping ${count + 1}: ${times.at(-1)!.toFixed(2)}ms\n`)
    }
    const average = times.reduce((sum, time) => sum + time, 0) / Math.max(1, times.length)
    const [min, max] = [Math.min(...times), Math.max(...times)].map((time) => time.toFixed(2))
    process.stdout.write(`Latency statistics: min=${min}ms, max=${max}ms, avg=${average.toFixed(2)}ms\n`)
    return 0
  } finally {
    await session.close()
  }
}

function pinger(link: Link<DaemonMessage, ClientMessage>, peer: string): () => Promise<void> {
  let waiting: { resolve(): void; reject(error: Error): void } | undefined
  const fail = (why: string) => waiting?.reject(new AppError("agent-lost", `Lost the ${peer}: ${why}`))
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
