import { accessSync, closeSync, constants, openSync, readSync, statSync } from "node:fs"
import { hostname, machine, release, version } from "node:os"
import { type Answer, type Call, type Handlers, proceed, success } from "./kernel/call.ts"
import { AT_FDCWD } from "./kernel/rules.ts"
import { peekString, readLink, writeMemory } from "./kernel/tracee.ts"
import type { Supervision } from "./supervision.ts"
import { machineBytes } from "./watch/shared-state.ts"

const textBytes = machineBytes / 6
const setUserId = 0o4000
const setGroupId = 0o2000
const elfClass64 = 2
const X_OK = 1

/** uname, and what is worth telling about the programs that are started. */
export function machineCalls({ architecture, log, world, rung, shared }: Supervision): Handlers {
  let name: Promise<string> | undefined
  const told = new Set<string>()

  async function uname(call: Call): Promise<Answer> {
    if (!world.hostname) return proceed
    name ??= world.hostname().catch(() => hostname())
    const bytes = Buffer.alloc(machineBytes)
    const texts = ["Linux", await name, release(), version(), machine(), "(none)"]
    texts.forEach((text, index) => {
      bytes.write(text, index * textBytes, textBytes - 1)
    })
    // From now on the watching thread answers by itself: some programs ask for every request they serve.
    shared.machine = bytes
    call.mustWait()
    writeMemory(call.tid, call.word(0), bytes)
    return success
  }

  function execute(call: Call): Answer {
    const at = call.name === "execveat" ? 1 : 0
    const path = call.isNull(at) ? -1 : peekString(call.tid, call.word(at))
    if (typeof path === "number" || path.length === 0) return proceed
    const text = Buffer.from(path).toString("utf8")
    const directory = call.name === "execveat" ? call.int(0) : AT_FDCWD
    if (directory === AT_FDCWD || text.startsWith("/")) tell(call.tid, text)
    return proceed
  }

  /** Says once per program what will not work with it. */
  function tell(tid: number, path: string): void {
    const folder = path.startsWith("/") ? "" : `${readLink(`/proc/${tid}/cwd`)}/`
    const file = folder + path
    if (told.has(file)) return
    if (told.size > 1000) told.clear()
    told.add(file)
    try {
      const stat = statSync(file)
      // To open a pipe would wait for somebody at its other end, and nobody could go on meanwhile.
      if (!stat.isFile()) return
      if (changesUser(stat)) {
        log.warn("a program that changes its user runs without that: no privileges can be gained here", {
          program: file,
        })
      }
      if (!rung.userNamespace && !mayRead(file)) {
        log.warn("a program its user may not read cannot be looked into: it runs on this machine, not in the pod", {
          program: file,
        })
        return
      }
      const head = headOf(file)
      if (head.toString("latin1", 0, 4) !== "\u007fELF") return
      if (head[4] !== elfClass64 || head.readUInt16LE(18) !== architecture.elfMachine) {
        log.warn("a program for another processor type runs on this machine, not in the pod", { program: file })
      }
    } catch {
      // The kernel will say what is wrong with it; but that it is in the pod, only we know.
      void tellRemote(file)
    }
  }

  async function tellRemote(file: string): Promise<void> {
    const placed = world.files?.place(file, "read")
    if (placed?.place !== "remote") return
    await world.files!.access(placed.path, X_OK).then(
      () => log.warn("a program that exists only in the pod cannot be started here", { program: file }),
      () => {},
    )
  }

  return { uname, execve: execute, execveat: execute }
}

function changesUser({ mode, uid, gid }: { mode: number; uid: number; gid: number }): boolean {
  const another = (bit: number, id: number, own: number) => (mode & bit) !== 0 && id !== own
  return another(setUserId, uid, process.getuid!()) || another(setGroupId, gid, process.getgid!())
}

function mayRead(path: string): boolean {
  try {
    accessSync(path, constants.R_OK)
    return true
  } catch {
    return false
  }
}

function headOf(path: string): Buffer {
  const head = Buffer.alloc(20)
  const fd = openSync(path, "r")
  try {
    readSync(fd, head, 0, head.length, 0)
    return head
  } finally {
    closeSync(fd)
  }
}
