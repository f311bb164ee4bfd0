import { errorText } from "../../core/errors.ts"
import type { Diversion, DivertedConnection, Interceptor, Route, Tap, TcpEvents } from "../../core/interceptor.ts"
import type { AgentContext } from "../feature.ts"
import { wantedBackend } from "../settings.ts"
import type { ClientChannel } from "./client-channel.ts"
import { Port, type Way } from "./port.ts"

/** A connection whose first packet the rules have seen comes to the listener within this: a round trip to its caller. */
const arrivalMilliseconds = 300

/** Decides what becomes of a new connection. */
export interface ConnectionRouter {
  /** One that was diverted; `diversion` is the way to the application. */
  serve(connection: DivertedConnection, port: Port, diversion: Diversion): TcpEvents
  /** Whether copies of a port's packets are of use to those who mirror it. */
  mayCopy(port: number): boolean
  /** One that is copied; undefined: nobody looks on. */
  copy(route: Route, port: Port): Tap | undefined
}

/** `look`: is content with a copy of what comes. */
export type Interest = "look" | "take"

interface Join {
  number: number
  interest: Interest
  enter(port: Port): void
  resolve(): void
  reject(reason: unknown): void
}

/**
 * The ports of the target and their subscribers. A port somebody wants to take from is diverted; one that is only mirrored is copied where
 * that can be done, which costs the target less and leaves its connections alone. The diversion is made when the first port is asked for.
 */
export class Ports {
  readonly #context: AgentContext
  readonly #interceptor: Interceptor
  readonly #router: ConnectionRouter
  readonly #ports = new Map<number, Port>()
  #diversion: Promise<Diversion> | undefined
  #joining: Join[] | undefined
  #mayCopy: boolean
  /** Ports that got packets too large to be copied. */
  readonly #uncopyable = new Set<number>()
  #removedAt = Number.NEGATIVE_INFINITY
  readonly #lingering = new Map<Port, ReturnType<typeof setTimeout>>()
  /** Changes of kernel rules happen one after the other, in the order they were asked for. */
  #last: Promise<unknown> = Promise.resolve()

  constructor(context: AgentContext, interceptor: Interceptor, router: ConnectionRouter) {
    this.#context = context
    this.#interceptor = interceptor
    this.#router = router
    const { copyMirrored, flushConnections } = context.settings
    // Connections from before cannot be copied; those that are cut come back and pass through.
    this.#mayCopy = copyMirrored && !flushConnections
  }

  /**
   * Lets `enter` make a subscription; resolves when the kernel's rules stand. What is asked for at the same time is done in one go.
   * @throws AppError "port-taken", "interception-unavailable"; then nothing was entered
   */
  subscribe(number: number, interest: Interest, enter: (port: Port) => void): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const join = { number, interest, enter, resolve, reject }
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
    const ways = new Map<number, Way>()
    for (const { number, interest } of joining) {
      ways.set(number, interest === "take" ? "diverted" : (ways.get(number) ?? this.#wayToLookAt(number)))
    }
    try {
      await this.#arrange(ways)
    } catch (thrown) {
      // One port may stand in the way of all others: find out which.
      if (joining.length > 1) for (const join of joining) await this.#joinAll([join])
      else joining[0]?.reject(thrown)
      return
    }
    for (const { number, enter, resolve } of joining) {
      const port = this.#ports.get(number) ?? new Port(number)
      port.way = ways.get(number)
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
      await this.#stepAside()
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
      await this.#stepAside()
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
    const { unusedPortLingerSeconds } = this.#context.settings
    if (unusedPortLingerSeconds === 0) return this.#drop(unused)
    for (const port of unused) this.#linger(port, unusedPortLingerSeconds)
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

  /** How a port is to be watched by somebody who takes nothing from it. */
  #wayToLookAt(number: number): Way {
    if (this.#ports.get(number)?.onlyMirrored === false) return "diverted"
    return this.#mayCopy && !this.#uncopyable.has(number) && this.#router.mayCopy(number) ? "copied" : "diverted"
  }

  /** Has the kernel do what `ways` says; where it cannot copy, `ways` is changed. Ports that are as they shall be stay untouched. */
  async #arrange(ways: Map<number, Way>): Promise<void> {
    const changed = [...ways].filter(([number, way]) => this.#ports.get(number)?.way !== way)
    if (changed.length === 0) return
    const diversion = await this.#open()
    const copied = changed.filter(([, way]) => way === "copied").map(([number]) => number)
    if (copied.length > 0 && !(await diversion.copy(copied))) {
      this.#mayCopy = false
      for (const number of copied) ways.set(number, "diverted")
    }
    const diverted = changed.map(([number]) => number).filter((number) => ways.get(number) === "diverted")
    if (diverted.length > 0) await diversion.add(diverted)
  }

  /** Whoever took from a port is gone: its connections need not pass through the agent any more. */
  async #stepAside(): Promise<void> {
    const diverted = [...this.#ports.values()].filter(
      ({ unused, way, number }) => !unused && way === "diverted" && this.#wayToLookAt(number) === "copied",
    )
    const ways = new Map(diverted.map(({ number }) => [number, "copied" as Way]))
    try {
      await this.#arrange(ways)
    } catch (thrown) {
      this.#context.log.warn("mirrored connections go on passing through the agent", { reason: errorText(thrown) })
      return
    }
    for (const port of diverted) port.way = ways.get(port.number)
  }

  /** Told for each packet; what is there to do is done once. */
  #giveUpCopying(number: number): void {
    if (this.#uncopyable.has(number)) return
    this.#uncopyable.add(number)
    this.#inOrder(async () => {
      const port = this.#ports.get(number)
      if (port?.way !== "copied") return
      await this.#arrange(new Map([[number, "diverted"]]))
      port.way = "diverted"
      const notice = `packets to port ${number} are too large to be copied: new connections pass through the agent`
      for (const { client } of port.channels) client.tell("Warn", notice)
    }).catch((thrown) => {
      this.#context.log.warn("mirrored connections are not diverted", { port: number, reason: errorText(thrown) })
    })
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
        onCopied: (route) => this.#look(route),
        onCopiesMissed: (reason) => this.#tellMissed(reason),
        onTooLargeToCopy: (number) => this.#giveUpCopying(number),
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
    return this.#router.serve(connection, this.#ports.get(number) ?? new Port(number), diversion)
  }

  #look(route: Route): Tap | undefined {
    const port = this.#ports.get(route.destination.port)
    return port && this.#router.copy(route, port)
  }

  #tellMissed(reason: string): void {
    const copied = [...this.#ports.values()].filter(({ way }) => way === "copied")
    const clients = new Set(copied.flatMap(({ channels }) => channels.map(({ client }) => client)))
    for (const client of clients) client.tell("Warn", `mirrored connections may be missing: ${reason}`)
  }

  #inOrder<T>(change: () => Promise<T>): Promise<T> {
    // Whoever subscribes from now on comes after this change.
    this.#joining = undefined
    const result = this.#last.then(change)
    this.#last = result.catch((thrown) => this.#context.log.debug("rules not changed", { reason: errorText(thrown) }))
    return result
  }
}
