import { setTimeout as sleep } from "node:timers/promises"
import type { Config } from "../../../../config/load.ts"
import { KubeError } from "../../../kube/errors.ts"

export type RetryOptions = Config["startup_retry"]

/** Answers that may be others in a moment: too many requests, an operator that starts, a gateway that waited in vain. */
const passing: ReadonlySet<number> = new Set([429, 503, 504])
/** Longest pause a server may ask for, in milliseconds: somebody sits before it. */
const longestPauseMs = 30_000

/**
 * Asks again after such an answer, as often as the configuration's `startup_retry` says: after its pauses, each twice the one
 * before, or after what the server's `Retry-After` says. @throws what the last attempt failed with
 */
export async function retried<T>(
  { min_ms, max_ms, max_retries }: RetryOptions,
  work: () => Promise<T>,
  signal?: AbortSignal,
): Promise<T> {
  for (let attempt = 0, pauseMs = min_ms; ; attempt++, pauseMs = Math.min(pauseMs * 2, max_ms)) {
    try {
      return await work()
    } catch (thrown) {
      if (!(thrown instanceof KubeError) || !passing.has(thrown.status) || attempt >= max_retries) throw thrown
      const { retryAfterSeconds } = thrown
      const ms = retryAfterSeconds === undefined ? pauseMs : Math.min(retryAfterSeconds * 1_000, longestPauseMs)
      await sleep(ms, undefined, { signal }).catch(() => {})
      signal?.throwIfAborted()
    }
  }
}
