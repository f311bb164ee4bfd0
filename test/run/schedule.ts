/** Something to run, and what it cannot share. */
export interface Job {
  run(): Promise<void>
  /** Nothing else runs meanwhile. */
  alone?: boolean
  /** What only one job at a time may have. */
  takes?: string | undefined
  /** Has to be over before this one begins. */
  after?: Job | undefined
}

/**
 * Runs jobs in their order, as many at once as may be: whatever has to wait is overtaken by the next that has not.
 * Those that run alone come last.
 * @throws what a job throws; those that run then are not waited for
 */
export async function runJobs(jobs: readonly Job[], atOnce: number): Promise<void> {
  const waiting = [...jobs.filter(({ alone }) => !alone), ...jobs.filter(({ alone }) => alone)]
  const running = new Map<Job, Promise<void>>()
  const mayStart = ({ alone, takes, after }: Job) => {
    const others = [...running.keys()]
    if (after && (waiting.includes(after) || running.has(after))) return false
    if (alone) return others.length === 0
    return !others.some((other) => other.alone || (takes !== undefined && other.takes === takes))
  }
  for (;;) {
    const next = running.size < atOnce ? waiting.findIndex(mayStart) : -1
    const [job] = next < 0 ? [] : waiting.splice(next, 1)
    if (job) running.set(job, job.run().finally(() => running.delete(job)) as Promise<void>)
    else if (running.size > 0) await Promise.race(running.values())
    else return
  }
}
