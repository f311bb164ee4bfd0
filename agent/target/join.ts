import { AppError, errorText } from "../../core/errors.ts"
import { errno, isLinuxError, LinuxError } from "../../core/linux/errno.ts"
import { joinNetworkNamespace, ownNetworkNamespace } from "../../core/linux/namespace.ts"
import { openFlag } from "../../core/linux/open.ts"
import { syscall } from "../../core/linux/syscall.ts"
import type { Logger } from "../../core/log.ts"
import type { AgentMode } from "../command-line.ts"
import type { AgentSettings } from "../settings.ts"
import { askRuntime, type KnownContainer, runtimeSockets } from "./ask-runtime.ts"
import { findContainer, isOfContainer } from "./find-container.ts"
import type { AgentTarget, Surroundings } from "./target.ts"
import { HeldProcess } from "./watch.ts"

export interface Joined {
  target: AgentTarget | undefined
  surroundings: Surroundings
  /** True when this process left its own network for good and can listen on unix sockets only. */
  settled: boolean
  /** Calls back once when the target has ended; returns how to stop watching. */
  watch(onGone: () => void): () => void
  close(): void
}

/**
 * Finds the target and opens what the agent needs of it.
 * @throws AppError "target-not-found", "runtime-failed", "target-gone", "namespace-denied", "target-denied"
 */
export async function joinTarget(mode: AgentMode, settings: AgentSettings, log: Logger): Promise<Joined> {
  if (mode.kind === "targetless") return targetless()
  const asked = mode.kind === "targeted" ? askInBackground(mode.containerId, mode.runtime) : undefined
  const { pid, foundById } = await mainProcess(mode, settings, asked)
  const held = new HeldProcess(pid)
  try {
    const isStillIt = () => foundById === undefined || isOfContainer(pid, foundById)
    const { ownRootFd, ...opened } = held.openOf(isStillIt, () => openPlaces(mode, pid, log))
    const target: AgentTarget = {
      pid,
      containerId: mode.kind === "targeted" ? mode.containerId : settings.ephemeralTargetContainerId,
      rootFd: opened.rootFd,
      namesRootFd: ownRootFd ?? opened.rootFd,
      environmentOf: pid,
      baseEnvironment: mode.kind === "ephemeral" ? Promise.resolve(ownEnvironment()) : environmentFrom(asked, log),
      inNamespace: (make) => opened.network.run(make),
    }
    return {
      target,
      surroundings: target,
      settled: opened.network.relation === "settled",
      watch: (onGone) => held.watch(onGone),
      close() {
        opened.close()
        held.close()
      },
    }
  } catch (thrown) {
    held.close()
    throw thrown
  }
}

/** What is reached by a process's number. */
function openPlaces({ kind }: AgentMode, pid: number, log: Logger) {
  // An ephemeral container shares the pod's network, and its own environment and /etc are those of the pod.
  const isEphemeral = kind === "ephemeral"
  const network = isEphemeral ? ownNetworkNamespace : joinNetworkNamespace(pid)
  const rootFd = isEphemeral ? rootOrDenial(pid, log) : openRoot(`/proc/${pid}/root`)
  const ownRootFd = isEphemeral ? openRoot("/") : undefined
  return {
    network,
    rootFd,
    ownRootFd,
    close() {
      network.close()
      if (rootFd >= 0) syscall("close", rootFd)
      if (ownRootFd !== undefined) syscall("close", ownRootFd)
    },
  }
}

function targetless(): Joined {
  const rootFd = openRoot("/")
  const surroundings: Surroundings = {
    rootFd,
    namesRootFd: rootFd,
    environmentOf: "self",
    baseEnvironment: Promise.resolve(new Map()),
    inNamespace: (make) => ownNetworkNamespace.run(make),
  }
  return {
    target: undefined,
    surroundings,
    settled: false,
    watch: () => () => {},
    close: () => void syscall("close", rootFd),
  }
}

interface Found {
  pid: number
  /** The container it is known to belong to by its cgroup. */
  foundById?: string
}

async function mainProcess(
  mode: Exclude<AgentMode, { kind: "targetless" }>,
  settings: AgentSettings,
  asked: Promise<KnownContainer> | undefined,
): Promise<Found> {
  if (mode.kind === "process") return { pid: mode.pid }
  if (mode.kind === "targeted") return findOrAsk(mode.containerId, asked)
  // Without a shared process namespace of the pod, the ephemeral container was put into the target's: its main
  // process is number 1 there.
  const id = settings.ephemeralTargetContainerId
  try {
    return id === "" ? { pid: 1 } : { pid: findContainer(id), foundById: id }
  } catch (thrown) {
    if (thrown instanceof AppError && thrown.code === "target-not-found") return { pid: 1 }
    throw thrown
  }
}

/** The runtime's answer counts only when the processes themselves do not tell. */
async function findOrAsk(containerId: string, asked: Promise<KnownContainer> | undefined): Promise<Found> {
  try {
    return { pid: findContainer(containerId), foundById: containerId }
  } catch (thrown) {
    if (!asked) throw thrown
    return { pid: (await asked).pid }
  }
}

/** Nobody waits for the answer unless it is needed. Undefined: the runtime's socket is not within reach. */
function askInBackground(containerId: string, runtime: string): Promise<KnownContainer> | undefined {
  const [socketPath] = runtimeSockets(runtime)
  const asked = socketPath === undefined ? undefined : askRuntime(runtime, socketPath, containerId)
  asked?.catch(() => {})
  return asked
}

async function environmentFrom(
  asked: Promise<KnownContainer> | undefined,
  log: Logger,
): Promise<ReadonlyMap<string, string>> {
  try {
    return (await asked)?.environment ?? new Map()
  } catch (thrown) {
    log.warn("the runtime does not tell the target's environment", { reason: errorText(thrown) })
    return new Map()
  }
}

/**
 * An ephemeral container often runs as a user who may not look at the target's files. It is of use without them: every request for a
 * file is refused as the kernel would refuse it.
 */
function rootOrDenial(pid: number, log: Logger): number {
  try {
    return openRoot(`/proc/${pid}/root`)
  } catch (thrown) {
    if (!(thrown instanceof AppError && thrown.code === "target-denied")) throw thrown
    log.warn("files of the target are out of reach", { reason: thrown.message, next: thrown.next })
    return -errno.EACCES
  }
}

function openRoot(path: string): number {
  const fd = syscall(
    "openat",
    -100,
    Buffer.from(`${path}\0`),
    openFlag.path | openFlag.directory | openFlag.closeOnExec,
    0,
  )
  if (fd >= 0) return fd
  const cause = new LinuxError(fd, `open ${path}`)
  if (!isLinuxError(cause, errno.EACCES, errno.EPERM)) throw cause
  throw new AppError("target-denied", `Not permitted to see the files of the target (${path})`, {
    cause,
    next: "Give the agent the capability SYS_PTRACE, or run it as the target's user.",
  })
}

function ownEnvironment(): Map<string, string> {
  return new Map(Object.entries(process.env).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])))
}
