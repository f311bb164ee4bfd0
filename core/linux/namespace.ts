import { closeSync, openSync, readlinkSync, writeSync } from "node:fs"
import { AppError } from "../errors.ts"
import { check, errno, errnoName, isLinuxError } from "./errno.ts"
import { syscall } from "./syscall.ts"

const CLONE_NEWNET = 0x40000000
/** Asks for the user namespace that owns a namespace. Source: linux/nsfs.h. */
const NS_GET_USERNS = 0xb701
const SIGKILL = 9

/** The network namespace of a process, as reached from this thread. */
export interface NetworkNamespace {
  /**
   * `same`: this process already lives there. `visited`: entered around each call of `run`.
   * `settled`: this thread moved in for good, because the way back is closed to it (root of a user namespace only).
   */
  readonly relation: "same" | "visited" | "settled"
  /** Runs `make` inside; it must do its work synchronously (create the socket, start the process). May be nested. */
  run<T>(make: () => T): T
  close(): void
}

/** The namespace this thread is in. */
export const ownNetworkNamespace: NetworkNamespace = { relation: "same", run: (make) => make(), close() {} }

/**
 * Opens the network namespace of process `pid` and finds out how this thread can use it; moves in at once when that is
 * the only way.
 * @throws AppError "target-gone", "namespace-denied"
 */
export function joinNetworkNamespace(pid: number): NetworkNamespace {
  const path = `/proc/${pid}/ns/net`
  const home = "/proc/thread-self/ns/net"
  return translated(pid, () => {
    if (readlinkSync(path) === readlinkSync(home)) return ownNetworkNamespace
    const podFd = openSync(path, "r")
    const homeFd = openSync(home, "r")
    if (mayEnter(homeFd)) return visited(podFd, homeFd)
    closeSync(homeFd)
    try {
      check(syscall("setns", podFd, CLONE_NEWNET), `setns ${path}`)
    } finally {
      closeSync(podFd)
    }
    return { relation: "settled", run: (make) => make(), close() {} }
  })
}

function visited(podFd: number, homeFd: number): NetworkNamespace {
  let depth = 0
  return {
    relation: "visited",
    run(make) {
      if (depth === 0) check(syscall("setns", podFd, CLONE_NEWNET), "setns into the target's network")
      depth++
      try {
        return make()
      } finally {
        depth--
        if (depth === 0) returnHome(homeFd)
      }
    },
    close() {
      closeSync(podFd)
      closeSync(homeFd)
    },
  }
}

/** A thread that cannot get back would serve the wrong network from then on, so the process ends here and now. */
function returnHome(homeFd: number): void {
  const result = syscall("setns", homeFd, CLONE_NEWNET)
  if (result === 0) return
  writeSync(2, `cannot return to the own network namespace (${errnoName(result)}); ending the process\n`)
  syscall("kill", process.pid, SIGKILL)
}

/** The owner of a namespace can only be opened from the same user namespace or one above it, which is what `setns` asks, too. */
function mayEnter(namespaceFd: number): boolean {
  const ownerFd = syscall("ioctl", namespaceFd, NS_GET_USERNS)
  if (ownerFd < 0) return false
  closeSync(ownerFd)
  return true
}

function translated<T>(pid: number, open: () => T): T {
  try {
    return open()
  } catch (thrown) {
    const code = (thrown as { code?: string }).code
    if (code === "ENOENT" || code === "ESRCH") {
      throw new AppError("target-gone", `Process ${pid} does not exist`, {
        cause: thrown,
        next: "Check that the target is still running.",
      })
    }
    if (code === "EACCES" || isLinuxError(thrown, errno.EPERM)) {
      throw new AppError("namespace-denied", `Not permitted to enter the network of process ${pid}`, {
        cause: thrown,
        next: "Give the agent the capabilities SYS_ADMIN and SYS_PTRACE and the host's process namespace.",
      })
    }
    throw thrown
  }
}
