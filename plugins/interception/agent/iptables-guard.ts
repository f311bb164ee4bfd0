import { fileURLToPath } from "node:url"
import { removeFromAll } from "./iptables-chains.ts"
import type { IpFamily, IptablesKind } from "./iptables-programs.ts"

/** First argument of this binary when it is to be the guard. */
export const guardWord = "__iptables-guard"

export interface GuardTask {
  kind: IptablesKind
  families: readonly IpFamily[]
  chains: readonly string[]
}

/**
 * Starts a process in the calling thread's network namespace that removes the chains when this process ends, however it does.
 * Returns how to dismiss it.
 */
export function startGuard(task: GuardTask): () => void {
  const compiled = import.meta.url.includes("$bunfs")
  const entry = compiled ? guardWord : fileURLToPath(new URL("./iptables-guard-entry.ts", import.meta.url))
  const child = Bun.spawn([process.execPath, entry, JSON.stringify(task)], {
    stdio: ["pipe", "ignore", "inherit"],
    env: { PATH: process.env["PATH"] ?? "" },
  })
  child.unref()
  return () => child.kill("SIGKILL")
}

/** The guard itself: waits for the end of its standard input, which is the end of the agent. */
export async function runGuard(task: string): Promise<void> {
  // What ends the agent is often sent to its children, too.
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"]) process.on(signal, () => {})
  for await (const _ of Bun.stdin.stream()) {
    // Nothing is ever sent.
  }
  const { kind, families, chains } = JSON.parse(task) as GuardTask
  removeFromAll(kind, families, chains)
}
