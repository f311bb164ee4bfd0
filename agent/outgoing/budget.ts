import type { AgentClient } from "../feature.ts"
import type { Leftovers } from "./leftovers.ts"

/** Bytes of one client that may wait for slow peers of all its connections; above, the client is read no further. */
const holdAboveBytes = 8 * 1024 * 1024
const releaseBelowBytes = 4 * 1024 * 1024

/** What one client's connections share: room for what their peers do not take yet, and the client's own readiness. */
export class Budget {
  readonly #client: AgentClient
  /** Those of the whole agent. */
  readonly leftovers: Leftovers
  #waitingBytes = 0
  #release: (() => void) | undefined
  readonly #sources = new Set<{ pause(): void; resume(): void }>()
  #clientIsFull = false

  constructor(client: AgentClient, leftovers: Leftovers) {
    this.#client = client
    this.leftovers = leftovers
  }

  /** `bytes` more (or, negative, fewer) wait for a peer. */
  waiting(bytes: number): void {
    this.#waitingBytes += bytes
    if (this.#waitingBytes > holdAboveBytes) this.#release ??= this.#client.holdInput()
    else if (this.#waitingBytes < releaseBelowBytes) {
      this.#release?.()
      this.#release = undefined
    }
  }

  /** Something that produces data for the client; paused at once while the client has no room. */
  addSource(source: { pause(): void; resume(): void }): void {
    this.#sources.add(source)
    if (this.#clientIsFull) source.pause()
  }

  removeSource(source: { pause(): void; resume(): void }): void {
    this.#sources.delete(source)
  }

  /** Takes the result of `client.send`: once it is false, nobody produces more until there is room. */
  sent(hasRoom: boolean): void {
    if (hasRoom || this.#clientIsFull) return
    this.#clientIsFull = true
    for (const source of this.#sources) source.pause()
    void this.#client.whenWritable().then(() => {
      this.#clientIsFull = false
      for (const source of this.#sources) source.resume()
    })
  }
}
