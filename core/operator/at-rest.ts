/** Between two looks at what the process does, in milliseconds. */
const lookEveryMs = 1_000
/** So many looks in a row must find it at rest: the first sessions afterwards take some 10 ms longer to start. */
const looksAtRest = 30
/** At rest is who needs no more of a processor than this. */
const restShare = 0.03
/** Only after so much work there is something to give back, in milliseconds of processor time. */
const worthMs = 1_000
/** Between two times: code that was given up has to be compiled again, and the process stands still for some 20 ms. */
const pauseMs = 60_000

/** Decides when a process that has worked is at rest, from the processor time it has used. */
export class AtRest {
  #lookedAt: number
  #spentMs: number
  #gaveBackAt = Number.NEGATIVE_INFINITY
  #gaveBackSpentMs: number
  #looks = 0

  /** @param now milliseconds of any clock @param spentMs processor time so far, in milliseconds */
  constructor(now: number, spentMs: number) {
    this.#lookedAt = now
    this.#spentMs = spentMs
    this.#gaveBackSpentMs = spentMs
  }

  /** True when memory is to be given back now. */
  look(now: number, spentMs: number): boolean {
    const share = (spentMs - this.#spentMs) / Math.max(1, now - this.#lookedAt)
    this.#lookedAt = now
    this.#spentMs = spentMs
    this.#looks = share <= restShare ? this.#looks + 1 : 0
    if (this.#looks < looksAtRest) return false
    if (spentMs - this.#gaveBackSpentMs < worthMs || now - this.#gaveBackAt < pauseMs) return false
    this.#gaveBackAt = now
    this.#gaveBackSpentMs = spentMs
    return true
  }
}

/**
 * A process that starts a thousand sessions compiles the code for it and leaves garbage nobody has to collect as long as there is room:
 * a seventh of its memory. At rest it gives that back.
 */
export function giveBackAtRest(): { stop(): void } {
  const rest = new AtRest(performance.now(), spentMs())
  const timer = setInterval(() => {
    if (rest.look(performance.now(), spentMs())) Bun.shrink()
  }, lookEveryMs)
  timer.unref()
  return { stop: () => clearInterval(timer) }
}

function spentMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}
