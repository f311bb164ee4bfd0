import { constants } from "node:os"

const stopping = ["SIGINT", "SIGTERM"] as const

/** See `RoleContext.stopOnSignals`; each call after the first gives the same signal. */
export function createStopOnSignals(): () => AbortSignal {
  let controller: AbortController | undefined
  return () => {
    if (controller) return controller.signal
    const { signal } = (controller = new AbortController())
    for (const name of stopping) {
      process.on(name, () => {
        if (signal.aborted) process.exit(128 + constants.signals[name])
        controller?.abort()
      })
    }
    return signal
  }
}

/** Resolves once the stop is asked for, which may have been before anybody waited. */
export function untilStopped(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    signal.addEventListener("abort", () => resolve(), { once: true })
  })
}
