import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { askingSide, connectLink } from "../core/link/index.ts"
import type { Link } from "../core/link.ts"
import { silentLogger } from "../core/log.ts"
import type { ClientMessage, DaemonMessage, FileRequest, FileResponse } from "../core/protocol/index.ts"
import { runAgent } from "./agent.ts"
import { type AgentOptions, readCommandLine } from "./command-line.ts"
import { type AgentSettings, readSettings } from "./settings.ts"

/* For tests: an agent in this process, reached through its own unix socket. */

export interface TestAgent {
  socketPath: string
  exited: Promise<number>
  connect(): Promise<TestClient>
  stop(): Promise<void>
}

/** Bounds every wait of a test. */
const patienceMilliseconds = 45_000

export async function startAgent(
  mode: readonly string[],
  settings: Partial<AgentSettings> = {},
  options: Partial<AgentOptions> = {},
): Promise<TestAgent> {
  const folder = mkdtempSync(join(tmpdir(), "podside-agent-"))
  const socketPath = join(folder, "agent.sock")
  const stopping = new AbortController()
  const ready = Promise.withResolvers<void>()
  const exited = runAgent({
    options: { ...readCommandLine(["--listen", `unix:${socketPath}`, ...mode])!, ...options },
    settings: { ...readSettings({}, silentLogger), idleSeconds: 3600, ...settings },
    log: silentLogger,
    signal: stopping.signal,
    interceptor: async () => undefined,
    print: () => ready.resolve(),
  }).finally(() => rmSync(folder, { recursive: true }))
  await Promise.race([ready.promise, exited])
  return {
    socketPath,
    exited,
    connect: async () => new TestClient(await connectLink(askingSide, { unix: socketPath })),
    async stop() {
      stopping.abort()
      await exited
    },
  }
}

/** A client that hands out messages in the order they came. */
export class TestClient {
  readonly link: Link<DaemonMessage, ClientMessage>
  readonly #arrived: DaemonMessage[] = []
  #waiting: ((message: DaemonMessage) => void) | undefined

  constructor(link: Link<DaemonMessage, ClientMessage>) {
    this.link = link
    link.receive((message) => {
      const waiting = this.#waiting
      this.#waiting = undefined
      if (waiting) waiting(message)
      else this.#arrived.push(message)
    })
  }

  send(...messages: ClientMessage[]): void {
    for (const message of messages) this.link.send(message)
  }

  /** The next message. @throws when none comes */
  next(): Promise<DaemonMessage> {
    const message = this.#arrived.shift()
    if (message) return Promise.resolve(message)
    return within("a message", new Promise<DaemonMessage>((resolve) => (this.#waiting = resolve)))
  }

  /** From now on `handler` gets every message, those that wait here included. */
  takeOver(handler: (message: DaemonMessage) => void): void {
    for (const message of this.#arrived.splice(0)) handler(message)
    this.link.receive(handler)
  }

  /** Sends and gives the next message. */
  ask(message: ClientMessage): Promise<DaemonMessage> {
    this.send(message)
    return this.next()
  }

  /** Everything that arrived and was not taken, once a ping sent now is answered. */
  async settle(): Promise<DaemonMessage[]> {
    this.send({ kind: "Ping" })
    const before: DaemonMessage[] = []
    for (;;) {
      const message = await this.next()
      if (message.kind === "Pong") return before
      before.push(message)
    }
  }

  async negotiate(version = "1.29.0"): Promise<void> {
    await this.ask({ kind: "SwitchProtocolVersion", value: version })
  }

  async file(request: FileRequest): Promise<FileResponse> {
    const message = await this.ask({ kind: "FileRequest", value: request })
    if (message.kind !== "File") throw new Error(`expected an answer about files, got ${message.kind}`)
    return message.value
  }

  /** The reason of a `Close`, once the link has ended. */
  async closed(): Promise<string | undefined> {
    await within("the end of the connection", this.link.ended)
    return this.#arrived.flatMap((message) => (message.kind === "Close" ? [message.value] : []))[0]
  }
}

export function within<T>(what: string, work: Promise<T>, milliseconds = patienceMilliseconds): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => reject(new Error(`${what} did not come in ${milliseconds} ms`)), milliseconds)
  return Promise.race([work, promise]).finally(() => clearTimeout(timer))
}
