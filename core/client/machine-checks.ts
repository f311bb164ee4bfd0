import { readFileSync } from "node:fs"
import { release } from "node:os"
import type { Check } from "./doctor.ts"
import type { Engine } from "./engine.ts"

/** Content of a file of this machine; undefined when it cannot be read. */
type ReadText = (path: string) => string | undefined

/** What this machine has to offer. */
export function machineChecks(
  engine: Pick<Engine, "unavailable" | "restriction">,
  textOf: ReadText = readText,
): Check[] {
  return [
    {
      name: "process engine",
      async run() {
        const lack = await engine.unavailable()
        if (lack) return { state: "problem", detail: lack.reason, next: lack.next }
        const restriction = await engine.restriction()
        if (restriction !== undefined) return { state: "warning", detail: `works, with limits: ${restriction}` }
        return {
          state: "ok",
          detail: `seccomp notification works on ${process.platform} ${release()}, ${process.arch}`,
        }
      },
    },
    {
      name: "ptrace scope",
      async run() {
        const scope = textOf("/proc/sys/kernel/yama/ptrace_scope")
        if (scope === undefined) return { state: "ok", detail: "this kernel has no Yama" }
        if (Number(scope) < 2) return { state: "ok", detail: `kernel.yama.ptrace_scope is ${scope}` }
        return {
          state: "warning",
          detail: `kernel.yama.ptrace_scope is ${scope}`,
          next: "Set it to 1: sudo sysctl kernel.yama.ptrace_scope=1",
        }
      },
    },
    {
      name: "user namespaces",
      async run() {
        const most = Number(textOf("/proc/sys/user/max_user_namespaces") ?? 0)
        const refused = textOf("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") === "1"
        if (most > 0 && !refused) return { state: "ok", detail: "allowed; only `npm run demo` uses them" }
        return { state: "warning", detail: "not allowed for ordinary users; sessions do not need them, the demo does" }
      },
    },
  ]
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8").trim()
  } catch {
    return undefined
  }
}
