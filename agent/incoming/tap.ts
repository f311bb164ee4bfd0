import type { Service } from "./connection.ts"

/** Sees what a caller sends, without any say in it. */
export interface Tap {
  onData(bytes: Buffer): void
  onEnd(): void
  onClose(): void
}

/** What taps have not seen yet. Copies wait until every connection that is ready now has been served, and then leave together. */
let unseen: { taps: readonly Tap[]; bytes: Buffer | "end" | "close" }[] = []

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

function later(taps: readonly Tap[], bytes: Buffer | "end" | "close"): void {
  if (unseen.push({ taps, bytes }) === 1) setImmediate(show)
}

function show(): void {
  const seen = unseen
  unseen = []
  for (const { taps, bytes } of seen) {
    for (const tap of taps) {
      if (bytes === "end") tap.onEnd()
      else if (bytes === "close") tap.onClose()
      else tap.onData(bytes)
    }
  }
}
