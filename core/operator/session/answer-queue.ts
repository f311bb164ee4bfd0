import type { DaemonMessage } from "../../protocol/index.ts"

interface Slot {
  answer?: DaemonMessage
  /** What the client hears when the agent is lost before it answers. */
  onLoss: DaemonMessage
}

/**
 * Requests the client matches with answers by order alone (files, names, environment, first-version connects). Answers made
 * here wait for those of earlier requests that are still with the agent.
 */
export class AnswerQueue {
  #slots: Slot[] = []
  readonly #emit: (answer: DaemonMessage) => void

  constructor(emit: (answer: DaemonMessage) => void) {
    this.#emit = emit
  }

  /** The agent will answer this one. */
  expect(onLoss: DaemonMessage): void {
    this.#slots.push({ onLoss })
  }

  /** This one is answered here. */
  settle(answer: DaemonMessage): void {
    this.#slots.push({ answer, onLoss: answer })
    this.#flush()
  }

  /** The agent answered its oldest open request. False when it owes none: the answer is surplus and must not go out. */
  arrived(answer: DaemonMessage): boolean {
    const open = this.#slots.find((slot) => slot.answer === undefined)
    if (!open) return false
    open.answer = answer
    this.#flush()
    return true
  }

  /** The agent is gone: everything it owes is answered with a failure. */
  lose(): void {
    for (const slot of this.#slots) slot.answer ??= slot.onLoss
    this.#flush()
  }

  get length(): number {
    return this.#slots.length
  }

  #flush(): void {
    let done = 0
    for (const { answer } of this.#slots) {
      if (answer === undefined) break
      done++
      this.#emit(answer)
    }
    if (done > 0) this.#slots.splice(0, done)
  }
}
