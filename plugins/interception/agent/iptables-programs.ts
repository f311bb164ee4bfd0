import { existsSync, readFileSync } from "node:fs"
import { AppError } from "../../../core/errors.ts"

export type IptablesKind = "nft" | "legacy"
export type IpFamily = 4 | 6

/** Looked through besides PATH: programs started by a container runtime may have none. */
const knownPlaces = "/usr/local/sbin:/usr/sbin:/sbin"
/** Other programs may hold the lock of the legacy tables. */
const lockSeconds = 5
const usualLock = "/run/xtables.lock"
/**
 * What the legacy programs lock instead where nobody has made the usual file: the network namespace itself. It can be opened on a
 * read-only root, and programs in other containers of the pod, which have another /run, meet at it.
 */
const namespaceLock = { XTABLES_LOCKFILE: "/proc/self/ns/net" }

/** The nat table of one family, as one kind of iptables sees it, in the network namespace of the calling thread. */
export interface NatTable {
  family: IpFamily
  /** Its rules in the form the program takes them: "-A CHAIN …", without counters. @throws AppError "iptables-failed" */
  rules(): string[]
  /** All or nothing. @throws AppError "iptables-failed" with the program's own words */
  change(lines: readonly string[]): void
}

export function natTable(kind: IptablesKind, family: IpFamily): NatTable {
  const name = `${family === 4 ? "iptables" : "ip6tables"}-${kind}`
  return {
    family,
    rules: () => run(name, ["-w", `${lockSeconds}`, "-t", "nat", "-S"]).split("\n"),
    change(lines) {
      const text = ["*nat", ...lines, "COMMIT", ""].join("\n")
      run(`${name}-restore`, ["-w", `${lockSeconds}`, "--noflush"], text)
    },
  }
}

/** Whether the legacy nat table of one family exists in this namespace; to ask the program for it would make it. */
export function hasLegacyNat(family: IpFamily): boolean {
  try {
    const names = readFileSync(`/proc/thread-self/net/${family === 4 ? "ip" : "ip6"}_tables_names`, "utf8")
    return names.split("\n").includes("nat")
  } catch {
    return false
  }
}

/** Whether the mangle table, too, has a rule that `pattern` fits. @throws AppError "iptables-failed" */
export function hasMangleRule(kind: IptablesKind, pattern: RegExp): boolean {
  return run(`iptables-${kind}`, ["-w", `${lockSeconds}`, "-t", "mangle", "-S"])
    .split("\n")
    .some((rule) => pattern.test(rule))
}

function run(name: string, args: string[], input = ""): string {
  const program = Bun.which(name, { PATH: `${process.env["PATH"] ?? ""}:${knownPlaces}` })
  if (!program) {
    throw new AppError("interception-unavailable", `The program ${name} is not here`, {
      next: "Use an agent image that contains iptables, or leave the choice of the backend to the agent.",
    })
  }
  const env = existsSync(usualLock) ? {} : namespaceLock
  const { stdout, stderr, exitCode } = Bun.spawnSync([program, ...args], { stdin: Buffer.from(input), env })
  if (exitCode === 0) return stdout.toString()
  const reason = stderr.toString().trim().split("\n")[0] || `exit code ${exitCode}`
  throw new AppError("iptables-failed", `${name}: ${reason}`, {
    next: "Give the agent the capability NET_ADMIN, or choose another backend.",
  })
}
