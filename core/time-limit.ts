/**
 * Waits for `work`, `ms` milliseconds at most; false when it takes longer. The clock ends with the work: a sleep that nobody waits for
 * any more would keep the process. @throws what `work` is rejected with
 */
export async function endsWithin(work: Promise<unknown>, ms: number): Promise<boolean> {
  const late = Promise.withResolvers<false>()
  const timer = setTimeout(() => late.resolve(false), ms)
  try {
    return await Promise.race([work.then(() => true), late.promise])
  } finally {
    clearTimeout(timer)
  }
}
