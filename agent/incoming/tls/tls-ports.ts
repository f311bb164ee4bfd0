import { errorText } from "../../../core/errors.ts"
import type { Logger } from "../../../core/log.ts"
import type { AgentContext } from "../../feature.ts"
import type { Port } from "../port.ts"
import { parseStealTls, type StealTlsPort } from "./steal-tls-config.ts"
import { TargetPem } from "./target-pem.ts"
import { readTlsSetup, type TlsSetup } from "./tls-setup.ts"

/** Files are read anew after this: certificates are renewed while pods run, and mistakes get repaired. */
const freshMilliseconds = 30_000

/** The ports whose TLS the agent ends. */
export class TlsPorts {
  readonly #ports = new Map<number, TlsPort>()

  constructor({ settings, surroundings, log }: AgentContext) {
    if (settings.stealTlsConfig === undefined) return
    try {
      const files = new TargetPem(surroundings.rootFd)
      for (const entry of parseStealTls(settings.stealTlsConfig)) {
        this.#ports.set(entry.port, new TlsPort(entry, files, log))
      }
    } catch (thrown) {
      log.error("MIRRORD_AGENT_STEAL_TLS_CONFIG cannot be read, TLS is not ended on any port", {
        reason: errorText(thrown),
      })
    }
  }

  at(port: number): TlsPort | undefined {
    return this.#ports.get(port)
  }
}

export class TlsPort {
  readonly #entry: StealTlsPort
  readonly #files: TargetPem
  readonly #log: Logger
  #setup: TlsSetup | Error | undefined
  #readAt = 0
  /** What each client was told last, by its channel: the same once is enough. */
  readonly #told = new WeakMap<object, string>()

  constructor(entry: StealTlsPort, files: TargetPem, log: Logger) {
    this.#entry = entry
    this.#files = files
    this.#log = log
  }

  /** What the files say now (or said a moment ago); an error: TLS cannot be ended here. */
  setup(): TlsSetup | Error {
    const now = performance.now()
    if (this.#setup && now - this.#readAt < freshMilliseconds) return this.#setup
    this.#readAt = now
    this.#setup = this.#read()
    return this.#setup
  }

  /** The setup does not please the application; for a while its connections are its own. */
  distrust(port: Port, reason: string): void {
    this.#readAt = performance.now()
    this.#setup = new Error(reason)
    this.#log.error("TLS cannot be ended on a port", { port: port.number, reason })
    this.tell(port, reason)
  }

  #read(): TlsSetup | Error {
    const { port } = this.#entry
    try {
      return readTlsSetup(this.#entry, this.#files, (reason) =>
        this.#log.warn("a trust root is skipped", { port, reason }),
      )
    } catch (thrown) {
      const reason = errorText(thrown)
      this.#log.error("TLS cannot be ended on a port", { port, reason })
      return new Error(reason)
    }
  }

  /** Connections go to the application as they are: those who wanted to see them learn why. */
  tell(port: Port, reason: string): void {
    for (const channel of port.channels) {
      if (this.#told.get(channel) === reason) continue
      this.#told.set(channel, reason)
      channel.client.tell("Error", `TLS traffic of port ${port.number} goes to the target unseen: ${reason}`)
    }
  }
}
