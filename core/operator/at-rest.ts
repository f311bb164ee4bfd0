/** Between two looks at what the process does, in milliseconds. */
const lookEveryMs = 1_000
/** So many looks are looked back on: the first sessions after a rest take some 10 ms longer to start. */
const looksAtRest = 30
/** At rest is who needs less of a processor in all of them than this, in milliseconds; one collection of garbage takes some 50. */
const restMs = 900
/** Only after so much work there is something to give back, in milliseconds of processor time. */
const worthMs = 1_000
/** Between two times: code that was given up has to be compiled again, and the process stands still for some 20 ms. */
const pauseMs = 60_000

/** Decides when a process that has worked is at rest, from the processor time it has used. */
export class AtRest {
  /** Processor time at the last looks, oldest first. */
  readonly #spentMs: number[]
  #gaveBackAt = Number.NEGATIVE_INFINITY
  #gaveBackSpentMs: number

  /** @param spentMs processor time so far, in milliseconds */
  constructor(spentMs: number) {
    this.#spentMs = [spentMs]
    this.#gaveBackSpentMs = spentMs
  }

  /** True when memory is to be given back now. @param now milliseconds of any clock */
  look(now: number, spentMs: number): boolean {
    this.#spentMs.push(spentMs)
    if (this.#spentMs.length <= looksAtRest || spentMs - this.#spentMs.shift()! >= restMs) return false
    if (spentMs - this.#gaveBackSpentMs < worthMs || now - this.#gaveBackAt < pauseMs) return false
    this.#gaveBackAt = now
    this.#gaveBackSpentMs = spentMs
    return true
  }
}

/**
 * A process that starts a thousand sessions compiles the code for it and leaves garbage nobody has to collect as long as there is room:
 * a tenth of its memory. At rest it gives that back.
 */
export function giveBackAtRest(): { stop(): void } {
  const rest = new AtRest(spentMs())
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
