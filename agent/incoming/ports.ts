import { errorText } from "../../core/errors.ts"
import type { Diversion, DivertedConnection, Interceptor, TcpEvents } from "../../core/interceptor.ts"
import type { AgentContext } from "../feature.ts"
import { wantedBackend } from "../settings.ts"
import type { ClientChannel } from "./client-channel.ts"
import { Port } from "./port.ts"

/** A connection whose first packet the rules have seen comes to the listener within this: a round trip to its caller. */
const arrivalMilliseconds = 300

/** Decides what becomes of a new connection; `diversion` is the way to the application. */
export type ServeConnection = (connection: DivertedConnection, port: Port, diversion: Diversion) => TcpEvents

/** Of an unused port; timers of the runtime reach no further. */
const maxLingerSeconds = 2_000_000

interface Join {
  number: number
  enter(port: Port): void
  resolve(): void
  reject(reason: unknown): void
}

/** The diverted ports of the target and their subscribers. The diversion is made when the first port is asked for. */
export class Ports {
  readonly #context: AgentContext
  readonly #interceptor: Interceptor
  readonly #serve: ServeConnection
  readonly #ports = new Map<number, Port>()
  #diversion: Promise<Diversion> | undefined
  #joining: Join[] | undefined
  #removedAt = Number.NEGATIVE_INFINITY
  readonly #lingering = new Map<Port, ReturnType<typeof setTimeout>>()
  /** Changes of kernel rules happen one after the other, in the order they were asked for. */
  #last: Promise<unknown> = Promise.resolve()

  constructor(context: AgentContext, interceptor: Interceptor, serve: ServeConnection) {
    this.#context = context
    this.#interceptor = interceptor
    this.#serve = serve
  }

  /**
   * Lets `enter` make a subscription; resolves when the kernel's rules stand. What is asked for at the same time is done in one go.
   * @throws AppError "port-taken", "interception-unavailable"; then nothing was entered
   */
  subscribe(number: number, enter: (port: Port) => void): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const join = { number, enter, resolve, reject }
    if (this.#joining) this.#joining.push(join)
    else {
      const joining = [join]
      void this.#inOrder(async () => {
        if (this.#joining === joining) this.#joining = undefined
        await this.#joinAll(joining)
      })
      this.#joining = joining
    }
    return promise
  }

  async #joinAll(joining: readonly Join[]): Promise<void> {
    const numbers = joining.map(({ number }) => number).filter((number) => !this.#ports.has(number))
    try {
      if (numbers.length > 0) await (await this.#open()).add(numbers)
    } catch (thrown) {
      // One port may stand in the way of all others: find out which.
      if (joining.length > 1) for (const join of joining) await this.#joinAll([join])
      else joining[0]?.reject(thrown)
      return
    }
    for (const { number, enter, resolve } of joining) {
      const port = this.#ports.get(number) ?? new Port(number)
      this.#ports.set(number, port)
      this.#stopLingering(port)
      enter(port)
      resolve()
    }
  }

  unsubscribe(number: number, unsubscribe: (port: Port) => void): Promise<void> {
    return this.#inOrder(async () => {
      const port = this.#ports.get(number)
      if (!port) return
      unsubscribe(port)
      await this.#dropUnused([port])
    })
  }

  /** A client is gone: nothing of it stays on any port. */
  forget(...channels: ClientChannel[]): Promise<void> {
    return this.#inOrder(async () => {
      for (const port of this.#ports.values()) {
        for (const channel of channels) {
          port.stopStealing(channel)
          port.stopMirroring(channel)
        }
      }
      await this.#dropUnused([...this.#ports.values()])
    })
  }

  /** No new connections, once those on their way are here; no port lingers. Those there are need the rules that remain: what translates their packets back goes with the last rule. */
  stopDiverting(): Promise<void> {
    return this.#inOrder(async () => {
      for (const port of this.#lingering.keys()) this.#stopLingering(port)
      const numbers = [...this.#ports.keys()]
      this.#ports.clear()
      await this.#remove(numbers)
      await Bun.sleep(this.#removedAt + arrivalMilliseconds - performance.now())
    })
  }

  close(): Promise<void> {
    return this.#inOrder(async () => {
      const diversion = await this.#diversion?.catch(() => undefined)
      this.#diversion = undefined
      await diversion?.close()
    })
  }

  /** Ports nobody needs any more go at once, or after a while in which whoever comes back finds them as they were. */
  async #dropUnused(ports: Port[]): Promise<void> {
    const unused = ports.filter((port) => port.unused)
    if (unused.length === 0) return
    const lingerSeconds = Math.min(this.#context.settings.unusedPortLingerSeconds, maxLingerSeconds)
    if (lingerSeconds === 0) return this.#drop(unused)
    for (const port of unused) this.#linger(port, lingerSeconds)
  }

  #linger(port: Port, seconds: number): void {
    if (this.#lingering.has(port)) return
    const timer = setTimeout(() => {
      this.#lingering.delete(port)
      this.#inOrder(() => this.#drop(port.unused ? [port] : [])).catch((thrown) => this.#context.fail(thrown))
    }, seconds * 1000)
    this.#lingering.set(port, timer)
  }

  #stopLingering(port: Port): void {
    clearTimeout(this.#lingering.get(port))
    this.#lingering.delete(port)
  }

  async #drop(unused: readonly Port[]): Promise<void> {
    const numbers = unused.map((port) => port.number).filter((number) => this.#ports.delete(number))
    await this.#remove(numbers)
  }

  async #remove(numbers: readonly number[]): Promise<void> {
    if (numbers.length === 0) return
    await (await this.#open()).remove(numbers)
    this.#removedAt = performance.now()
  }

  #open(): Promise<Diversion> {
    const { target, settings, log } = this.#context
    let opened: Diversion
    this.#diversion ??= this.#interceptor
      .open({
        inNamespace: (make) => (target ? target.inNamespace(make) : make()),
        flushConnections: settings.flushConnections,
        flushConntrack: settings.flushConntrack,
        applicationOnLoopback: !settings.externalIpFix,
        keepCallers: settings.keepCallers,
        meshExpected: settings.istioCni,
        backend: wantedBackend(settings),
        onConnection: (connection) => this.#accept(connection, opened),
      })
      .then((diversion) => {
        opened = diversion
        log.info("incoming traffic can be taken", { backend: diversion.backend })
        return diversion
      })
    // A failed start may be tried again by the next subscription.
    this.#diversion.catch(() => (this.#diversion = undefined))
    return this.#diversion
  }

  #accept(connection: DivertedConnection, diversion: Diversion): TcpEvents {
    const number = connection.destination.port
    // Redirected just before its port was given back: nobody is interested, so the application gets it.
    return this.#serve(connection, this.#ports.get(number) ?? new Port(number), diversion)
  }

  #inOrder<T>(change: () => Promise<T>): Promise<T> {
    // Whoever subscribes from now on comes after this change.
    this.#joining = undefined
    const result = this.#last.then(change)
    this.#last = result.catch((thrown) => this.#context.log.debug("rules not changed", { reason: errorText(thrown) }))
    return result
  }
}
