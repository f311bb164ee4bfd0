import { syscall } from "../core/linux/syscall.ts"

/** Handshakes at once; each takes about 20 KiB. */
export const maxHandshakes = 1024
/** Connections that wait for theirs, as nothing but a descriptor. */
export const maxWaitingHandshakes = 8192
/** How long one may take, and how long while others wait, in milliseconds. */
const patienceMs = 10_000
const shortPatienceMs = 1_000
const lookEveryMs = 100

export interface Handshake {
  /** Settles when it is over, either way. */
  over: Promise<unknown>
  giveUp(): void
}

/** Bounds what somebody can make the agent hold who connects and then says nothing, without keeping the operator out for long. */
export class Handshakes {
  readonly #begin: (fd: number) => Handshake
  readonly #waiting: number[] = []
  /** The oldest first, with the time it began. */
  readonly #running = new Map<Handshake, number>()
  #timer: ReturnType<typeof setInterval> | undefined

  /** `begin` takes over a connected socket's descriptor. */
  constructor(begin: (fd: number) => Handshake) {
    this.#begin = begin
  }

  add(fd: number): void {
    if (this.#running.size < maxHandshakes) this.#start(fd)
    else if (this.#waiting.length < maxWaitingHandshakes) this.#waiting.push(fd)
    else syscall("close", fd)
  }

  #start(fd: number): void {
    const handshake = this.#begin(fd)
    this.#running.set(handshake, performance.now())
    this.#timer ??= setInterval(() => this.#giveUpSlow(), lookEveryMs).unref()
    void handshake.over.finally(() => {
      this.#running.delete(handshake)
      const next = this.#waiting.shift()
      if (next !== undefined) this.#start(next)
      if (this.#running.size > 0) return
      clearInterval(this.#timer)
      this.#timer = undefined
    })
  }

  #giveUpSlow(): void {
    const limit = performance.now() - (this.#waiting.length > 0 ? shortPatienceMs : patienceMs)
    for (const [handshake, beganAt] of this.#running) {
      if (beganAt > limit) return
      handshake.giveUp()
    }
  }
}
