import { cString, syscall } from "../../../../core/linux/syscall.ts"
import type { CallName } from "../kernel/abi.ts"
import { type Notification, O_CLOEXEC } from "../kernel/notification.ts"
import { pathCalls, twoPathCalls } from "../kernel/path-calls.ts"
import { threadGroup } from "../kernel/process-status.ts"
import { AT_FDCWD } from "../kernel/rules.ts"
import { readLink } from "../kernel/tracee.ts"

/** How long an answer holds, in milliseconds: a number may belong to another process some time after its own has ended. */
const rememberedMs = 1_000
const maxRemembered = 4_096

/**
 * Calls by which a process gets at something of the world. All others are about what it has already: what it inherits from
 * a process that is not skipped stays what it is.
 */
const openingCalls: ReadonlySet<CallName> = new Set<CallName>([
  ...pathCalls.keys(),
  ...twoPathCalls.keys(),
  "openat2",
  "socket",
  "connect",
  "bind",
  "listen",
  "sendto",
  "sendmsg",
  "sendmmsg",
  "uname",
])

/**
 * Processes that run as without the engine, though the filter makes their calls stop as everybody's. A program counts by the
 * name of its file or by what it is called (`argv[0]`); its children inherit that until they become another program.
 */
export class SkippedProcesses {
  readonly #names: ReadonlySet<string>
  readonly #endings: readonly string[]
  readonly #known = new Map<number, { skipped: boolean; untilMs: number }>()

  /** @param names exact; "*NAME" means every name that ends so */
  constructor(names: readonly string[]) {
    this.#names = new Set(names.filter((name) => !name.startsWith("*")))
    this.#endings = names.filter((name) => name.startsWith("*")).map((name) => name.slice(1))
  }

  /** Whether the kernel is to do the call at once, as the process made it. */
  passes({ tid }: Notification, name: CallName): boolean {
    if (name === "execve" || name === "execveat") {
      // A thread that starts another program becomes the first of its process.
      this.#known.delete(tid)
      this.#known.delete(groupOf(tid))
      return false
    }
    return openingCalls.has(name) && this.#covers(tid)
  }

  #covers(tid: number): boolean {
    const nowMs = performance.now()
    const known = this.#known.get(tid)
    if (known && nowMs < known.untilMs) return known.skipped
    if (this.#known.size >= maxRemembered) this.#known.clear()
    const skipped = this.#isNamed(fileOf(tid)) || this.#isNamed(calledAs(tid))
    this.#known.set(tid, { skipped, untilMs: nowMs + rememberedMs })
    return skipped
  }

  #isNamed(name: string): boolean {
    return name !== "" && (this.#names.has(name) || this.#endings.some((ending) => name.endsWith(ending)))
  }
}

function fileOf(tid: number): string {
  const path = readLink(`/proc/${tid}/exe`)
  return typeof path === "number" ? "" : lastPart(path.replace(/ \(deleted\)$/, ""))
}

const words = Buffer.from(new ArrayBuffer(4096))

/** Last part of `argv[0]`; empty when it cannot be read. */
function calledAs(tid: number): string {
  const fd = syscall("openat", AT_FDCWD, cString(`/proc/${tid}/cmdline`), O_CLOEXEC, 0)
  if (fd < 0) return ""
  const count = Math.max(0, syscall("read", fd, words, words.length))
  syscall("close", fd)
  const end = words.indexOf(0)
  return lastPart(words.toString("utf8", 0, end >= 0 && end < count ? end : count))
}

function lastPart(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1)
}

function groupOf(tid: number): number {
  try {
    return threadGroup(tid)
  } catch {
    return tid
  }
}
