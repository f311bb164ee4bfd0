import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import type { LaunchOptions } from "../../../../core/client/engine.ts"
import { AppError } from "../../../../core/errors.ts"
import { check, errno, errnoName } from "../../../../core/linux/errno.ts"
import { syscall } from "../../../../core/linux/syscall.ts"
import { inUserNamespace, type Rung } from "../kernel/rung.ts"
import { receiveDescriptor } from "../kernel/sent-descriptor.ts"
import { type LaunchRequest, launcherWord } from "./launch-request.ts"
import { startFailed } from "./launcher.ts"
import { listenerNumber } from "./listener-sender.ts"

const AF_UNIX = 1
const SOCK_STREAM = 1
const SOCK_CLOEXEC = 0o2000000
const RLIMIT_NOFILE = 7
const exitNotFound = 127
const exitNotExecutable = 126
const quickTries = 20

/** A program that waits for the word to go, and the listener for its calls. */
export interface Prepared {
  child: Bun.Subprocess
  listener: number
  /** Starts the program; resolves when it runs. @throws AppError "program-not-started" */
  go(): Promise<void>
}

/**
 * Starts the launcher and takes its listener.
 * @throws AppError "program-not-started", "nested-session", "engine-unavailable"
 */
export async function prepareProgram(
  options: Pick<LaunchOptions, "command" | "args" | "cwd" | "env">,
  filter: Buffer,
  openFiles: readonly [number, number],
  { descriptors, userNamespace }: Rung,
): Promise<Prepared> {
  // The runtime makes a pipe non-blocking with the first use of its stream: later it would do so under the program.
  void [process.stdout, process.stderr]
  const [mine, theirs] = socketPair()
  const [listenerComes, listenerGoes] = descriptors === "held" ? socketPair() : []
  let child: Bun.Subprocess
  try {
    child = Bun.spawn([...(userNamespace ? inUserNamespace : []), ...launcherCommand()], {
      // Nothing of the program's environment may reach the launcher: it could change the runtime.
      env: userNamespace ? { PATH: process.env["PATH"] ?? "" } : {},
      cwd: "/",
      stdio: ["inherit", "inherit", "inherit", theirs, ...(listenerGoes === undefined ? [] : [listenerGoes])],
    })
  } finally {
    for (const fd of [theirs, listenerGoes]) if (fd !== undefined) syscall("close", fd)
  }
  const talk = await Talk.over(mine)
  const request: LaunchRequest = {
    command: options.command,
    args: options.args,
    cwd: options.cwd,
    env: options.env,
    filter: filter.toString("base64"),
    openFiles,
    sendListener: listenerComes !== undefined,
  }
  const body = Buffer.from(JSON.stringify(request))
  const head = Buffer.alloc(4)
  head.writeUInt32LE(body.length)
  talk.send(Buffer.concat([head, body]))
  try {
    const number = await talk.number()
    if (number === startFailed) throw notStarted(options.command, (await talk.number()) ?? errno.ENOENT)
    if (number !== 0) throw noFilter(number)
    const refusal = talk.number()
    const take = () => (listenerComes === undefined ? fetchListener(child.pid) : takeListener(listenerComes))
    const listener = await whenThere(take, refusal)
    return {
      child,
      listener,
      async go() {
        talk.send(Buffer.from([1]))
        const failed = await refusal
        talk.close()
        if (failed !== undefined) throw notStarted(options.command, failed)
      },
    }
  } catch (thrown) {
    talk.close()
    child.kill("SIGKILL")
    throw thrown
  } finally {
    if (listenerComes !== undefined) syscall("close", listenerComes)
  }
}

function socketPair(): [mine: number, theirs: number] {
  const pair = new Int32Array(new ArrayBuffer(8))
  check(syscall("socketpair", AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), "socketpair")
  return [pair[0]!, pair[1]!]
}

/** Open file limits of whoever started this process: the runtime raises its own, which the program must not see. */
export function inheritedOpenFiles(): [soft: number, hard: number] {
  const own = new BigUint64Array(new ArrayBuffer(16))
  check(syscall("prlimit64", 0, RLIMIT_NOFILE, 0, own), "prlimit64")
  const [soft, hard] = [Number(own[0]), Number(own[1])]
  try {
    const limits = readFileSync(`/proc/${process.ppid}/limits`, "utf8")
    const line = /^Max open files\s+(\d+)/m.exec(limits)
    return [Math.min(soft, Number(line?.[1] ?? soft)), hard]
  } catch {
    return [soft, hard]
  }
}

/** This very binary in its launcher role; from sources, the launcher's own entry file. */
function launcherCommand(): string[] {
  const compiled = import.meta.url.includes("/$bunfs/")
  const entry = compiled ? launcherWord : fileURLToPath(new URL("./launcher-entry.ts", import.meta.url))
  return [process.execPath, entry]
}

/** The listener, as soon as the launcher has put its filter on. `refusal` settles when it has not. */
async function whenThere(take: () => number | undefined, refusal: Promise<number | undefined>): Promise<number> {
  let refused: { number: number | undefined } | undefined
  void refusal.then((number) => {
    refused = { number }
  })
  for (let tries = 0; ; tries++) {
    const listener = take()
    if (listener !== undefined) return listener
    if (refused) throw noFilter(refused.number)
    // It nearly always takes less than a millisecond.
    await Bun.sleep(tries < quickTries ? 0 : 1)
  }
}

function fetchListener(pid: number): number | undefined {
  const number = listenerNumber(pid)
  if (number === undefined) return undefined
  const pidfd = check(syscall("pidfd_open", pid, 0), "pidfd_open")
  try {
    const listener = syscall("pidfd_getfd", pidfd, number, 0)
    if (listener >= 0) return listener
    throw new AppError("engine-unavailable", `Cannot take over the program's listener: ${errnoName(listener)}`, {
      next: "Allow ptrace of own children (kernel.yama.ptrace_scope 0 or 1).",
    })
  } finally {
    syscall("close", pidfd)
  }
}

function takeListener(socket: number): number | undefined {
  const listener = receiveDescriptor(socket)
  return listener >= 0 ? listener : undefined
}

/** `number`: a negative errno; undefined when the launcher has ended without a word. */
function noFilter(number: number | undefined): AppError {
  if (number === undefined) {
    return new AppError("engine-unavailable", "The launcher ended before it was ready", {
      next: "Run `podside doctor` to see what this machine lacks.",
    })
  }
  if (number === -errno.EBUSY) {
    return new AppError("nested-session", "Another supervisor already watches this process and its children", {
      next: "Start podside outside of the other session; one program can live in one pod only.",
    })
  }
  return new AppError("engine-unavailable", `The kernel refused the seccomp filter: ${errnoName(number)}`, {
    next: "Run `podside doctor` to see what this machine lacks.",
  })
}

function notStarted(command: string, number: number): AppError {
  const missing = number === errno.ENOENT
  return new AppError("program-not-started", `Cannot start "${command}": ${errnoName(number)}`, {
    next: missing ? "Check the name, the working directory and PATH." : "Check that the file may be executed.",
    exitCode: missing ? exitNotFound : exitNotExecutable,
  })
}

/** The engine's end of the socket pair. */
class Talk {
  readonly #socket: Bun.Socket<Talk>
  #received = Buffer.alloc(0)
  #unsent = Buffer.alloc(0)
  #ended = false
  #waiting: (() => void) | undefined

  static async over(fd: number): Promise<Talk> {
    const holder: { talk?: Talk } = {}
    const socket = await Bun.connect<Talk>({
      fd,
      socket: {
        data: (_: unknown, bytes: Uint8Array) => holder.talk?.take(bytes),
        drain: () => holder.talk?.flush(),
        close: () => holder.talk?.end(),
        error: () => holder.talk?.end(),
      },
    } as unknown as Bun.TCPSocketConnectOptions<Talk>)
    holder.talk = new Talk(socket)
    return holder.talk
  }

  private constructor(socket: Bun.Socket<Talk>) {
    this.#socket = socket
  }

  send(bytes: Buffer): void {
    this.#unsent = Buffer.concat([this.#unsent, bytes])
    this.flush()
  }

  flush(): void {
    if (this.#unsent.length > 0) this.#unsent = this.#unsent.subarray(Math.max(0, this.#socket.write(this.#unsent)))
  }

  take(bytes: Uint8Array): void {
    this.#received = Buffer.concat([this.#received, bytes])
    this.#waiting?.()
  }

  end(): void {
    this.#ended = true
    this.#waiting?.()
  }

  /** The next i32; undefined when the launcher has nothing more to say. */
  async number(): Promise<number | undefined> {
    while (this.#received.length < 4) {
      if (this.#ended) return undefined
      await new Promise<void>((resolve) => {
        this.#waiting = resolve
      })
    }
    const number = this.#received.readInt32LE(0)
    this.#received = this.#received.subarray(4)
    return number
  }

  close(): void {
    this.#socket.end()
  }
}
