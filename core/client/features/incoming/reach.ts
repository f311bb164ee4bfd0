import type { Endpoint } from "../../../interceptor.ts"

/** Pauses before trying again, in milliseconds; a program that restarts is back within them. */
export const retryPausesMs: readonly number[] = [50, 100, 200, 400, 500, 500, 500, 500, 500]

/** Where the program listens at present: a program that restarts may be somewhere else afterwards. */
export type Place = () => Endpoint

/** Connects, again and again as long as nobody listens and `goOn()` holds. @throws what the last attempt threw */
export async function reach<T>(connect: () => Promise<T>, goOn: () => boolean): Promise<T> {
  for (const pause of retryPausesMs) {
    try {
      return await connect()
    } catch (thrown) {
      if ((thrown as { code?: unknown }).code !== "ECONNREFUSED" || !goOn()) throw thrown
      await Bun.sleep(pause)
      if (!goOn()) throw thrown
    }
  }
  return connect()
}
