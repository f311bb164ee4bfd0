import { fileURLToPath } from "node:url"
import { errno, isLinuxError } from "../../../core/linux/errno.ts"
import { removeFromAll } from "./iptables-chains.ts"
import type { IpFamily, IptablesKind } from "./iptables-programs.ts"
import { deleteTable, NfTables } from "./nf-tables.ts"

/** First argument of this binary when it is to be the guard. */
export const guardWord = "__rules-guard"

export type GuardTask =
  | { backend: "iptables"; kind: IptablesKind; families: readonly IpFamily[]; chains: readonly string[] }
  | { backend: "nf_tables"; table: string }

/**
 * Starts a process in the calling thread's network namespace that removes the rules when this process ends, however it does.
 * Returns how to dismiss it.
 */
export function startGuard(task: GuardTask): () => void {
  const compiled = import.meta.url.includes("$bunfs")
  const entry = compiled ? guardWord : fileURLToPath(new URL("./rules-guard-entry.ts", import.meta.url))
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
  const what = JSON.parse(task) as GuardTask
  if (what.backend === "iptables") removeFromAll(what.kind, what.families, what.chains)
  else removeTable(what.table)
}

function removeTable(table: string): void {
  const tables = new NfTables()
  try {
    tables.commit([deleteTable(table)], "delete the table of a dead agent")
  } catch (thrown) {
    if (!isLinuxError(thrown, errno.ENOENT)) throw thrown
  } finally {
    tables.close()
  }
}
