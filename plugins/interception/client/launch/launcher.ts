import { accessSync, constants, statSync, writeSync } from "node:fs"
import { setNonBlocking } from "../../../../core/linux/blocking.ts"
import { errno } from "../../../../core/linux/errno.ts"
import { addressOf, cString, syscall } from "../../../../core/linux/syscall.ts"
import { startWorker } from "../../../../core/worker.ts"
import { type LaunchRequest, launcherFd, listenerFd } from "./launch-request.ts"

const PR_SET_NO_NEW_PRIVS = 38
const PR_SET_PDEATHSIG = 1
const SIGKILL = 9
const SECCOMP_SET_MODE_FILTER = 1
const NEW_LISTENER = 8
const WAIT_KILLABLE_RECV = 32
const RLIMIT_NOFILE = 7
const F_SETFD = 2
const FD_CLOEXEC = 1
/** Signals the runtime ignores, which a program would inherit: SIGPIPE, SIGXFSZ. */
const ignoredSignals = [13, 25]
const exitNotStarted = 127

/**
 * The half of the engine that becomes the program: puts the filter on this thread (the first of the process, the one
 * `execve` keeps) and replaces itself. From the moment the filter stands, any call the runtime happens to make on this
 * thread may wait for an answer: so what the engine needs to answer, it is told before.
 */
export async function runLauncher(): Promise<never> {
  const request = readRequest()
  if (request.sendListener) await startSender()
  const { path, args, env, fallback } = prepare(request)
  const filter = Buffer.from(request.filter, "base64")
  // struct sock_fprog: count u16, address u64.
  const program = Buffer.alloc(16)
  program.writeUInt16LE(filter.length / 8, 0)
  program.writeBigUInt64LE(addressOf(filter), 8)
  // struct sigaction of the kernel, all zero: the default.
  const byDefault = Buffer.alloc(32)
  for (const signal of ignoredSignals) syscall("rt_sigaction", signal, byDefault, 0, 8)
  const limit = new BigUint64Array(request.openFiles.map(BigInt))
  syscall("prlimit64", 0, RLIMIT_NOFILE, limit, 0)
  for (const fd of [0, 1, 2]) blockAgain(fd)
  syscall("prctl", PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)
  syscall("fcntl", launcherFd, F_SETFD, FD_CLOEXEC)
  const status = Buffer.alloc(4)
  const go = Buffer.alloc(1)
  let listener = syscall("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
  if (listener === 0) {
    syscall("write", launcherFd, status, 4)
    listener = syscall("seccomp", SECCOMP_SET_MODE_FILTER, NEW_LISTENER | WAIT_KILLABLE_RECV, program)
    if (listener === -errno.EINVAL) listener = syscall("seccomp", SECCOMP_SET_MODE_FILTER, NEW_LISTENER, program)
  }
  if (listener < 0) {
    status.writeInt32LE(listener)
    syscall("write", launcherFd, status, 4)
  }
  if (listener < 0 || syscall("read", launcherFd, go, 1) !== 1) process.exit(exitNotStarted)
  let result = syscall("execve", path.bytes, args.array, env.array)
  // A script without its first line, as execvp(3) does it.
  if (result === -errno.ENOEXEC) result = syscall("execve", fallback.path.bytes, fallback.args.array, env.array)
  status.writeInt32LE(-result)
  syscall("write", launcherFd, status, 4)
  syscall("kill", process.pid, SIGKILL)
  process.exit(exitNotStarted)
}

/** The runtime makes pipes it may write to non-blocking for everybody who has them; programs lose output by that (EAGAIN). */
function blockAgain(fd: number): void {
  try {
    setNonBlocking(fd, false)
  } catch {
    // It is closed.
  }
}

async function startSender(): Promise<void> {
  syscall("fcntl", listenerFd, F_SETFD, FD_CLOEXEC)
  const worker = startWorker("plugins/interception/client/launch/listener-sender.worker.ts")
  await new Promise<void>((resolve) => {
    worker.onmessage = () => resolve()
  })
}

function readRequest(): LaunchRequest {
  const length = readExactly(4).readUInt32LE(0)
  return JSON.parse(readExactly(length).toString("utf8"))
}

function readExactly(length: number): Buffer {
  const bytes = Buffer.alloc(length)
  for (let done = 0; done < length; ) {
    const count = syscall("read", launcherFd, bytes.subarray(done), length - done)
    if (count <= 0) process.exit(exitNotStarted)
    done += count
  }
  return bytes
}

function prepare({ command, args, cwd, env }: LaunchRequest) {
  process.umask()
  try {
    process.chdir(cwd)
  } catch {
    refuse(errno.ENOENT)
  }
  const file = find(command, env["PATH"] ?? "/usr/local/bin:/usr/bin:/bin")
  if (typeof file === "number") refuse(file)
  const words = Object.entries(env).map(([name, value]) => `${name}=${value}`)
  return {
    path: { bytes: cString(file) },
    args: stringArray([command, ...args]),
    env: stringArray(words),
    fallback: { path: { bytes: cString("/bin/sh") }, args: stringArray(["sh", file, ...args]) },
  }
}

/** The program's file as execvp(3) finds it, or an errno. */
function find(command: string, path: string): string | number {
  const candidates = command.includes("/") ? [command] : path.split(":").map((folder) => `${folder || "."}/${command}`)
  let reason: number = errno.ENOENT
  for (const candidate of candidates) {
    try {
      if (!statSync(candidate).isFile()) {
        if (command.includes("/")) reason = errno.EACCES
        continue
      }
      accessSync(candidate, constants.X_OK)
      return candidate
    } catch (thrown) {
      if ((thrown as { code?: string }).code === "EACCES") reason = errno.EACCES
    }
  }
  return reason
}

/** Says that the program cannot be started, in the place of a listener's number. */
function refuse(number: number): never {
  const status = Buffer.alloc(8)
  status.writeInt32LE(startFailed)
  status.writeInt32LE(number, 4)
  writeSync(launcherFd, status)
  process.exit(exitNotStarted)
}

/** Listener "number" that announces the errno of a failed start. */
export const startFailed = -0x7fffffff

/** A char *const[] with its end. The strings stay referenced as long as the result. */
function stringArray(texts: readonly string[]): { array: BigUint64Array; strings: Buffer[] } {
  const strings = texts.map(cString)
  const array = new BigUint64Array(texts.length + 1)
  strings.forEach((text, index) => {
    array[index] = addressOf(text)
  })
  return { array, strings }
}
