import { AppError, errorText } from "../../core/errors.ts"
import { lastLines } from "./run.ts"
import type { ClusterUser } from "./use.ts"

export interface Patience {
  /** Default 60. */
  timeoutSeconds?: number
  /** Pause between two tries. Default 200. */
  everyMs?: number
}

/**
 * Repeats `probe` until it returns something true, and returns that. A throw counts as "not yet".
 * @throws AppError "never" with the last throw, and the namespace's pods, events and logs
 */
export async function eventually<T>(
  cluster: Pick<ClusterUser, "tryKubectl">,
  what: string,
  probe: () => Promise<T> | T,
  patience: Patience = {},
): Promise<NonNullable<T>> {
  const timeoutSeconds = patience.timeoutSeconds ?? 60
  const deadline = Date.now() + timeoutSeconds * 1000
  let last = "it was never true"
  for (;;) {
    try {
      const value = await probe()
      if (value) return value
    } catch (error) {
      last = errorText(error)
    }
    if (Date.now() > deadline) break
    await Bun.sleep(patience.everyMs ?? 200)
  }
  throw new AppError("never", `Not within ${timeoutSeconds} s: ${what}\n${last}\n${await report(cluster)}`)
}

/** What somebody would ask kubectl next. */
async function report({ tryKubectl }: Pick<ClusterUser, "tryKubectl">): Promise<string> {
  const pods = await tryKubectl("get", "pods", "-o", "wide")
  const events = await tryKubectl("get", "events", "--sort-by=.lastTimestamp")
  const names = (await tryKubectl("get", "pods", "-o", "name")).stdout.trim().split("\n").filter(Boolean)
  const logs = await Promise.all(
    names.slice(0, 8).map(async (pod) => {
      const text = await tryKubectl("logs", pod, "--all-containers", "--prefix", "--tail=15")
      return `${pod} said:\n${lastLines(text.stdout + text.stderr, 40)}`
    }),
  )
  return ["pods:", lastLines(pods.stdout, 40), "events:", lastLines(events.stdout, 30), ...logs].join("\n")
}
