import { errorText } from "../errors.ts"
import type { Logger } from "../log.ts"
import type { Host } from "../plugin.ts"

/** What the plugins of one role have done and how it is undone. */
export interface Scope {
  /** The view one plugin has of its host. */
  hostFor(name: string, settings: unknown): Host
  /** Aborts the signal, then undoes everything, last first; an undo that fails is logged and stops nobody else. */
  stop(): Promise<void>
}

export function createScope(log: Logger): Scope {
  const stopping = new AbortController()
  const undos: { name: string; run: () => unknown }[] = []
  const undo = async ({ name, run }: (typeof undos)[number]) => {
    try {
      await run()
    } catch (thrown) {
      log.error("plugin could not undo", { plugin: name, error: errorText(thrown) })
    }
  }
  let stopped: Promise<void> | undefined
  const unwind = async () => {
    stopping.abort()
    for (let each = undos.pop(); each; each = undos.pop()) await undo(each)
  }
  return {
    hostFor: (name, settings) => ({
      config: settings as Host["config"],
      log: log.child({ plugin: name }),
      signal: stopping.signal,
      defer(run) {
        // Who registers after the stop is undone at once: nobody would come for it later.
        if (stopping.signal.aborted) void undo({ name, run })
        else undos.push({ name, run })
      },
    }),
    stop: () => (stopped ??= unwind()),
  }
}
