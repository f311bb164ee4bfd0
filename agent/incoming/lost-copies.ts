import type { AgentClient } from "../feature.ts"

/** What is lost during this after the first is told together, in milliseconds. */
const gatheredMilliseconds = 10_000

/** How the loss of one, and of several, is said. */
const lossOf = {
  connection: { one: "a mirrored connection was dropped", many: "mirrored connections were dropped" },
  request: { one: "a mirrored request was dropped", many: "mirrored requests were dropped" },
  requestsOfConnection: {
    one: "requests of a mirrored connection were dropped",
    many: "mirrored connections had requests that were dropped",
  },
} as const

interface Gathered {
  count: number
  timer: ReturnType<typeof setTimeout>
}

/** Tells a client what it was not given: the first of a kind at once, those that follow in one line each while. */
export class LostCopies {
  readonly #client: Pick<AgentClient, "tell">
  readonly #milliseconds: number
  readonly #gathered = new Map<string, Gathered>()

  constructor(client: Pick<AgentClient, "tell">, milliseconds = gatheredMilliseconds) {
    this.#client = client
    this.#milliseconds = milliseconds
  }

  /** `reason`: of few different ones. */
  add(kind: keyof typeof lossOf, reason: string): void {
    const key = `${kind} ${reason}`
    const gathered = this.#gathered.get(key)
    if (gathered) {
      gathered.count++
      return
    }
    this.#client.tell("Warn", `${lossOf[kind].one}: ${reason}`)
    this.#gather(key, (count) => `${count} more ${lossOf[kind].many}: ${reason}`)
  }

  close(): void {
    for (const { timer } of this.#gathered.values()) clearTimeout(timer)
    this.#gathered.clear()
  }

  #gather(key: string, sentence: (count: number) => string): void {
    const timer = setTimeout(() => {
      const { count } = this.#gathered.get(key)!
      this.#gathered.delete(key)
      if (count === 0) return
      this.#client.tell("Warn", sentence(count))
      this.#gather(key, sentence)
    }, this.#milliseconds)
    this.#gathered.set(key, { count: 0, timer })
  }
}
