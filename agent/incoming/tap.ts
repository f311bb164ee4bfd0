import type { TcpEvents } from "../../core/interceptor.ts"

/** Sees what a caller sends, without any say in it. */
export interface Tap {
  onData(bytes: Buffer): void
  onEnd(): void
  onClose(): void
}

/** `events`, with `taps` looking on. */
export function tapped(events: TcpEvents, taps: readonly Tap[]): TcpEvents {
  if (taps.length === 0) return events
  return {
    onData(bytes) {
      // First who is served, so that a copy never delays the original.
      events.onData(bytes)
      for (const tap of taps) tap.onData(bytes)
    },
    onDrain: () => events.onDrain(),
    onEnd() {
      events.onEnd()
      for (const tap of taps) tap.onEnd()
    },
    onClose(error) {
      events.onClose(error)
      for (const tap of taps) tap.onClose()
    },
  }
}
