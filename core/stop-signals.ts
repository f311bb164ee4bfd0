import { constants } from "node:os"
import type { RoleContext } from "./role.ts"

const stopping = ["SIGINT", "SIGTERM"] as const

/** See `RoleContext`; each call of `stopOnSignals` after the first gives the same signal. */
export function createStopSignals(): Pick<RoleContext, "stopOnSignals" | "leaveSignalsTo"> {
  let controller: AbortController | undefined
  let left = 0
  return {
    stopOnSignals() {
      if (controller) return controller.signal
      const { signal } = (controller = new AbortController())
      for (const name of stopping) {
        process.on(name, () => {
          if (left > 0) return
          if (signal.aborted) process.exit(128 + constants.signals[name])
          controller?.abort()
        })
      }
      return signal
    },
    leaveSignalsTo(program) {
      left++
      const over = () => void left--
      program.then(over, over)
    },
  }
}

/** Resolves once the stop is asked for, which may have been before anybody waited. */
export function untilStopped(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    signal.addEventListener("abort", () => resolve(), { once: true })
  })
}
