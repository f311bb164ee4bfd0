import { errno } from "../../../../core/linux/errno.ts"
import { addressOf, syscall } from "../../../../core/linux/syscall.ts"
import { architectureOf, type CallName, callNames } from "../kernel/abi.ts"
import { Notification, notificationBytes, RECV, Replier, wakeSynchronously } from "../kernel/notification.ts"
import { directoryOf, intentOf, pathCalls } from "../kernel/path-calls.ts"
import type { DescriptorRanges } from "../kernel/rules.ts"
import { forgetThreads, peek, peekString, socketInodeOf } from "../kernel/tracee.ts"
import { resolverAnswers } from "./quick-answers.ts"
import { answersMachine, answersName } from "./quick-names.ts"
import { type ResolverPlace, resolverConnects } from "./quick-resolver.ts"
import { isRoot, opensRoot } from "./root-descriptors.ts"
import { SharedState } from "./shared-state.ts"
import { SkippedProcesses } from "./skipped-processes.ts"
import { POLLHUP, POLLIN, Wakeups } from "./wakeups.ts"
import { WatchWriter } from "./watch-channel.ts"

/** What the Worker gets once, at its start. */
export interface WatchOptions {
  listener: number
  /** An epoll descriptor with whatever else the main thread waits for. */
  epoll: number
  memory: SharedArrayBuffer
  ranges: DescriptorRanges
  /** The watching thread's end of the way to the main thread. */
  channel: number
  /** Where UDP sockets that are connected to the name server belong; absent: the main thread sees to them. */
  resolver: ResolverPlace | undefined
  /** Relative paths, too, may be hidden. */
  hidesRelative: boolean
  /** Names of programs that run as without the engine; see SkippedProcesses. */
  skipped: readonly string[]
}

/** What the Worker says: it waits now; the program is gone. Everything between goes through the channel. */
export type WatchMessage = { kind: "started" } | { kind: "ended" }

const AF_UNIX = 1
const AF_INET = 2
const AF_INET6 = 10
/** struct sockaddr_in6: more is only needed of names of unix sockets, which are the main thread's. */
const addressBytes = 28

/**
 * The watching thread's whole life: takes notifications, lets calls pass that are none of our business, hands the rest
 * to the main thread. Returns when the last process of the program is gone.
 */
export function watch(options: WatchOptions, say: (message: WatchMessage) => void): void {
  const { listener } = options
  const wakeups = new Wakeups(listener, options.epoll)
  const notification = new Uint8Array(new ArrayBuffer(notificationBytes))
  const notificationAt = addressOf(notification)
  const replier = new Replier(listener)
  const main = new WatchWriter(options.channel)
  const ready = (token: number) => main.ready(token)
  const shared = new SharedState(options.memory)
  const address = new CallAddress()
  const passes = passingCalls(options, shared, address)
  const answered = answeredCalls(options, shared, address)
  wakeSynchronously(listener)
  say({ kind: "started" })
  for (;;) {
    const events = wakeups.next(ready)
    if ((events & POLLIN) !== 0) {
      notification.fill(0)
      // A caller that died in between is no failure.
      if (syscall("ioctl", listener, RECV, notificationAt) < 0) continue
      const call = new Notification(notification)
      if (passes(call)) {
        replier.proceed(call.id)
        continue
      }
      const result = answered(call)
      if (result === undefined) main.call(notification)
      else if (result < 0) replier.fail(call.id, -result)
      else replier.value(call.id, BigInt(result))
    } else if ((events & POLLHUP) !== 0) {
      forgetThreads()
      say({ kind: "ended" })
      return
    }
  }
}

/** The address a connect or bind names, as far as the thread that watches is interested in it: read once for each call. */
class CallAddress {
  readonly #bytes = Buffer.from(new ArrayBuffer(addressBytes))
  /** Valid until the next call of `read`. */
  bytes = this.#bytes.subarray(0, 0)

  /** False when the program's memory holds none. */
  read(call: Notification): boolean {
    const length = Math.min(Math.max(call.int(2), 0), addressBytes)
    const count = length < 2 ? 0 : peek(call.tid, call.word(1), this.#bytes, length)
    this.bytes = this.#bytes.subarray(0, Math.max(count, 0))
    return count >= 2
  }
}

/** Results of calls that need nothing but what both threads know, negative errnos included; undefined: the main thread has to see to it. */
function answeredCalls({ resolver }: WatchOptions, shared: SharedState, address: CallAddress) {
  const names = callNames(architectureOf(process.arch)!)
  const connect = resolverConnects(resolver, shared)
  const receive = resolverAnswers(resolver, shared)
  const done = (isDone: boolean) => (isDone ? 0 : undefined)
  return (call: Notification): number | undefined => {
    const name = names.get(call.nr)
    switch (name) {
      case "connect":
        return done(connect(call, address.bytes))
      case "recvfrom":
        return receive(call)
      case "uname":
        return done(answersMachine(call, shared.machine))
      case "getsockname":
      case "getpeername":
        return done(answersName(call, name, shared.names))
      default:
        return undefined
    }
  }
}

/** Tells the calls that can go on at once: true when the main thread would say so, too. */
function passingCalls(options: WatchOptions, shared: SharedState, address: CallAddress) {
  const { ranges, hidesRelative } = options
  const skipped = options.skipped.length > 0 ? new SkippedProcesses(options.skipped) : undefined
  const architecture = architectureOf(process.arch)!
  const names = callNames(architecture)
  const header = Buffer.from(new ArrayBuffer(8))

  const pathPasses = (call: Notification, name: CallName): boolean => {
    const argument = pathCalls.get(name)!
    const int = (index: number) => call.int(index)
    const path = call.isNull(argument.path) ? -errno.EFAULT : peekString(call.tid, call.word(argument.path))
    if (typeof path === "number" || path.length === 0) {
      // futimens(3): rare enough to look for a remote file behind any descriptor.
      return name !== "utimensat" && directoryOf(argument, int) < ranges.readyFrom
    }
    if (path[0] === 0x2f) {
      if (!shared.rootOpened && opensRoot(name, path)) shared.rootOpened = true
      return shared.isLocal(path, intentOf(argument, int))
    }
    const directory = directoryOf(argument, int)
    if (directory < 0) return !shared.remoteDirectory && !hidesRelative
    return (directory < ranges.readyFrom || directory >= ranges.end) && !isRoot(shared, call.tid, directory)
  }
  const addressPasses = (call: Notification): boolean => {
    if (!address.read(call)) return true
    const number = address.bytes.readUInt16LE(0)
    if (number === AF_INET || number === AF_INET6 || number === AF_UNIX) return false
    // AF_UNSPEC undoes a connect, and with it the name we gave.
    if (shared.namedSockets) shared.names.remove(socketInodeOf(call.tid, call.int(0)) ?? 0)
    return true
  }
  /** msg_name, the first field of struct msghdr (and of the first struct mmsghdr), is null on stream sockets and connected ones. */
  const messagePasses = (call: Notification): boolean =>
    peek(call.tid, call.word(1), header) < 8 || header.readBigUInt64LE(0) === 0n

  return (call: Notification): boolean => {
    const name = names.get(call.nr)
    if (name === undefined) return true
    // Leaving a remote directory has to be noticed.
    if (name === "chdir" && shared.remoteDirectory) return false
    if (skipped?.passes(call, name)) return true
    if (pathCalls.has(name)) return pathPasses(call, name)
    switch (name) {
      case "connect":
      case "bind":
        return addressPasses(call)
      case "sendmsg":
      case "sendmmsg":
        return messagePasses(call)
      case "recvmsg":
        return messagePasses(call)
      case "recvmmsg":
      case "recvfrom":
        // It may wait until another thread has sent something to the pod, and the answer is there.
        return false
      case "accept":
      case "accept4":
      case "getpeername":
      case "getsockname":
        return !shared.namedSockets
      case "getsockopt":
        return !shared.failedConnects
      case "msync":
        return !shared.sharedMappings
      case "getcwd":
        return !shared.remoteDirectory
      case "fchdir":
        return !shared.remoteDirectory && (call.int(0) < ranges.readyFrom || call.int(0) >= ranges.end)
      default:
        return false
    }
  }
}
