import type { Tap } from "../../core/interceptor.ts"
import type { Service } from "./connection.ts"

/** What taps have not seen yet. Copies wait until every connection that is ready now has been served, and then leave together. */
let unseen: { taps: readonly Tap[]; bytes: Buffer | "end" | "close" }[] = []
let unseenBytes = 0
/** With more than this they do not wait: thousands of connections may be ready at once, each with half a MiB. */
const maxUnseenBytes = 1 << 20

/** `events`, with `taps` looking on a little later. */
export function tapped(events: Service, taps: readonly Tap[]): Service {
  if (taps.length === 0) return events
  return {
    onData(bytes) {
      events.onData(bytes)
      later(taps, bytes)
    },
    onDrain: () => events.onDrain(),
    finish: () => events.finish?.(),
    onEnd() {
      events.onEnd()
      later(taps, "end")
    },
    onClose(error) {
      events.onClose(error)
      later(taps, "close")
    },
  }
}

/** Several that look on the same. */
export function together(taps: readonly Tap[]): Tap | undefined {
  if (taps.length < 2) return taps[0]
  const each = (tell: (tap: Tap) => void) => {
    for (const tap of taps) tell(tap)
  }
  return {
    onData: (bytes) => each((tap) => tap.onData(bytes)),
    onEnd: () => each((tap) => tap.onEnd()),
    onClose: () => each((tap) => tap.onClose()),
    onLost: (reason) => each((tap) => tap.onLost(reason)),
    get over() {
      return taps.every((tap) => tap.over)
    },
  }
}

function later(taps: readonly Tap[], bytes: Buffer | "end" | "close"): void {
  if (unseen.push({ taps, bytes }) === 1) setImmediate(show)
  if (typeof bytes === "string") return
  unseenBytes += bytes.length
  if (unseenBytes > maxUnseenBytes) show()
}

function show(): void {
  const seen = unseen
  unseen = []
  unseenBytes = 0
  for (const { taps, bytes } of seen) {
    for (const tap of taps) {
      if (bytes === "end") tap.onEnd()
      else if (bytes === "close") tap.onClose()
      else tap.onData(bytes)
    }
  }
}
