import { readdirSync, readFileSync } from "node:fs"

/** Process id of an operator's pod in our own cluster, whose processes run on this machine. */
export function operatorProcess(pod: string): number {
  for (const name of readdirSync("/proc").filter((entry) => /^\d+$/.test(entry))) {
    try {
      if (readFileSync(`/proc/${name}/environ`, "utf8").split("\0").includes(`OPERATOR_POD_NAME=${pod}`))
        return Number(name)
    } catch {
      // It has ended meanwhile.
    }
  }
  throw new Error(`no process of pod ${pod}`)
}
