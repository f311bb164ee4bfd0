import type { RemoteConnection } from "../../engine.ts"

/** A connection to nobody: it stands, takes everything and never says a word. */
export function silentConnection(): RemoteConnection {
  let ended: (() => void) | undefined
  return {
    write: () => true,
    end: () => ended?.(),
    close() {},
    pause() {},
    resume() {},
    attach({ onClose }) {
      ended = onClose
    },
  }
}
