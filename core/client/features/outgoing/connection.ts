import type { Endpoint } from "../../../interceptor.ts"
import type { RemoteConnection } from "../../engine.ts"
import type { InputBudget } from "../input-budget.ts"

type Handlers = Parameters<RemoteConnection["attach"]>[0]

/** How a connection reaches the agent. */
export interface Wire {
  /** False: wait for `whenWritable`. Empty bytes end this direction. */
  write(bytes: Uint8Array): boolean
  close(): void
  whenWritable(): Promise<void>
}

/** Largest piece of a byte stream put into one message: others shall get their turn. */
const maxPieceBytes = 256 << 10

/** One connection the agent made. What arrives before `attach`, or while paused, waits here and counts in the budget. */
export class AgentConnection implements RemoteConnection {
  local?: Endpoint
  readonly remote?: Endpoint
  readonly #wire: Wire
  readonly #budget: InputBudget
  readonly #isStream: boolean
  readonly #forget: () => void
  #handlers: Handlers | undefined
  #waiting: Uint8Array[] = []
  #paused = false
  #delivering = false
  #remoteEnded = false
  #remoteClosed = false
  #told: "open" | "ended" | "closed" = "open"
  #localEnd = false
  #draining = false

  constructor(options: {
    wire: Wire
    budget: InputBudget
    isStream: boolean
    local?: Endpoint
    remote?: Endpoint
    forget(): void
  }) {
    this.#wire = options.wire
    this.#budget = options.budget
    this.#isStream = options.isStream
    this.#forget = options.forget
    if (options.local) this.local = options.local
    if (options.remote) this.remote = options.remote
  }

  attach(handlers: Handlers): void {
    this.#handlers = handlers
    this.#deliver()
  }

  write(data: Uint8Array): boolean {
    if (this.#localEnd || this.#isClosed || data.byteLength === 0) return true
    let open = true
    if (this.#isStream) {
      for (let at = 0; at < data.byteLength; at += maxPieceBytes)
        open = this.#wire.write(data.subarray(at, at + maxPieceBytes))
    } else open = this.#wire.write(data)
    if (!open && !this.#draining) {
      this.#draining = true
      void this.#wire.whenWritable().then(() => {
        this.#draining = false
        if (this.#told !== "closed") this.#handlers?.onDrain()
      })
    }
    return open
  }

  /** Its number may be another's soon, though what came before is still read. */
  get #isClosed(): boolean {
    return this.#remoteClosed || this.#told === "closed"
  }

  end(): void {
    if (this.#localEnd || this.#isClosed) return
    this.#localEnd = true
    if (this.#isStream) this.#wire.write(new Uint8Array(0))
  }

  close(): void {
    if (this.#told === "closed") return
    if (!this.#remoteClosed) this.#wire.close()
    this.#finish()
  }

  pause(): void {
    this.#paused = true
  }

  resume(): void {
    this.#paused = false
    this.#deliver()
  }

  // ---- called by whoever reads the link

  received(data: Uint8Array): void {
    if (this.#told === "closed") return
    if (data.byteLength === 0) {
      if (this.#isStream) this.#remoteEnded = true
    } else {
      this.#waiting.push(data)
      this.#budget.add(data.byteLength)
    }
    this.#deliver()
  }

  closedByAgent(): void {
    this.#remoteClosed = true
    this.#forget()
    this.#deliver()
  }

  /** Nothing more can come: the agent is gone. */
  lost(): void {
    this.#remoteClosed = true
    this.#finish()
  }

  #deliver(): void {
    if (this.#delivering || !this.#handlers) return
    this.#delivering = true
    while (this.#waiting.length > 0 && !this.#paused) {
      const data = this.#waiting.shift()!
      this.#budget.remove(data.byteLength)
      this.#handlers.onData(data)
    }
    this.#delivering = false
    if (this.#waiting.length > 0 || this.#told === "closed") return
    if (this.#remoteEnded && this.#told === "open") {
      this.#told = "ended"
      this.#handlers.onEnd()
    }
    if (this.#remoteClosed) this.#finish(true)
  }

  #finish(byPeer = false): void {
    if (this.#told === "closed") return
    this.#told = "closed"
    for (const data of this.#waiting) this.#budget.remove(data.byteLength)
    this.#waiting = []
    this.#forget()
    this.#handlers?.onClose(byPeer)
  }
}
