import { errorText } from "../../../core/errors.ts"
import type { DiversionOptions } from "../../../core/interceptor.ts"
import type { Logger } from "../../../core/log.ts"
import { connectedCallers } from "./connected-callers.ts"
import { Copier } from "./copier.ts"
import { openPacketLog, type PacketLogSocket } from "./packet-log-socket.ts"
import type { CopyRules } from "./rule-set.ts"

const tickMilliseconds = 1000
/** What was logged of a connection's first packets has been read after this. */
const settledMilliseconds = 1000

/** Copies of ports: the rules, the log they write to, and who puts it together. Made when the first port is to be copied. */
export class Copying {
  readonly #options: DiversionOptions
  readonly #rules: CopyRules
  readonly #log: Logger
  readonly #preferredGroup: number
  readonly #copier: Copier
  #socket: PacketLogSocket | undefined
  #unavailable = false
  #timer: ReturnType<typeof setInterval> | undefined
  /** Ports that are copied no more, and since when (milliseconds of `performance.now()`). */
  readonly #left = new Map<number, number>()

  /** `preferredGroup`: a log group nobody else in the namespace is likely to use. */
  constructor(options: DiversionOptions, rules: CopyRules, preferredGroup: number, log: Logger) {
    this.#options = options
    this.#rules = rules
    this.#preferredGroup = preferredGroup
    this.#log = log
    this.#copier = new Copier({
      onCopied: options.onCopied,
      onMissed: options.onCopiesMissed,
      onCut: options.onTooLargeToCopy,
    })
  }

  /** False: the kernel cannot. @throws LinuxError, AppError "port-taken" */
  add(ports: readonly number[]): boolean {
    if (!this.#open()) return false
    this.#options.inNamespace(() => this.#rules.copy(ports))
    for (const port of ports) this.#left.delete(port)
    return true
  }

  /** Ports are diverted now; connections that are being copied go on, if somebody looks on. */
  diverted(ports: readonly number[]): void {
    if (!this.#socket) return
    const now = performance.now()
    for (const port of ports) if (!this.#left.has(port)) this.#left.set(port, now)
  }

  /** As `diverted`, for ports nobody wants any more: what is still in the log of other connections is of no use. @throws LinuxError */
  removed(ports: readonly number[]): void {
    if (!this.#socket) return
    for (const port of ports) this.#left.set(port, Number.NEGATIVE_INFINITY)
    this.#release()
  }

  close(): void {
    clearInterval(this.#timer)
    this.#unavailable = true
    const socket = this.#socket
    this.#socket = undefined
    socket?.close()
  }

  #open(): boolean {
    if (this.#socket || this.#unavailable) return this.#socket !== undefined
    try {
      this.#options.inNamespace(() => {
        const socket = openPacketLog(this.#preferredGroup, {
          bytes: (bytes) => this.#copier.read(bytes),
          closed: () => this.#fail(),
        })
        this.#socket = socket
        this.#rules.open(socket.group)
      })
    } catch (thrown) {
      this.#log.info("mirrored connections pass through the agent", { reason: errorText(thrown) })
      this.close()
      return false
    }
    this.#timer = setInterval(() => this.#tick(), tickMilliseconds)
    return true
  }

  /** The kernel does not end such a socket; were it to, nobody would be told otherwise. */
  #fail(): void {
    if (!this.#socket) return
    this.close()
    this.#copier.loseAll("the kernel's log ended")
    this.#options.onCopiesMissed("the kernel's log ended")
  }

  #tick(): void {
    try {
      this.#copier.tick(this.#socket?.drops() ?? 0, (ports, flows) =>
        this.#options.inNamespace(() => connectedCallers(ports, flows)),
      )
      this.#release()
    } catch (thrown) {
      this.#log.debug("copied connections not looked after", { reason: errorText(thrown) })
    }
  }

  #release(): void {
    if (this.#left.size === 0) return
    this.#copier.dropUnwanted()
    const settled = performance.now() - settledMilliseconds
    const idle = [...this.#left].flatMap(([port, since]) => (since < settled && !this.#copier.has(port) ? [port] : []))
    if (idle.length === 0) return
    this.#options.inNamespace(() => this.#rules.release(idle))
    for (const port of idle) this.#left.delete(port)
  }
}
