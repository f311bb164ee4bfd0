import { errorText } from "./errors.ts"
import { ask, type Plugins, type Wired } from "./host/ask.ts"
import { badPlugin, checkHooks, checkOrder, type LoadedPlugin, placeOf, pluginError } from "./host/check.ts"
import { checkConfigNames, type PluginConfigs, readConfig } from "./host/config.ts"
import { type HooksOf, hooks, type Role } from "./host/hooks.ts"
import type { Logger } from "./log.ts"
import type { Host } from "./plugin.ts"

export type { Plugins, Verdict } from "./host/ask.ts"
export type { LoadedPlugin } from "./host/check.ts"
export type { PluginConfigs } from "./host/config.ts"
export type { Role } from "./host/hooks.ts"

export interface StartOptions {
  log: Logger
  /** Settings the role found for its plugins; those of `--plugin-config` win, plugin by plugin and key by key. */
  config?: PluginConfigs
}

/**
 * Wires every plugin that has this role, in list order, then starts them in the same order. Whatever fails, everything
 * already done is undone before the error is thrown.
 * @throws AppError "bad-plugin", "bad-plugin-config"; other AppErrors of a plugin's `start` pass through
 */
export async function startPlugins<R extends Role>(
  role: R,
  list: readonly LoadedPlugin[],
  { log, config = {} }: StartOptions,
): Promise<Plugins<R>> {
  checkOrder(list)
  checkConfigNames(config, list)
  const stopping = new AbortController()
  const undos: { name: string; undo: () => unknown }[] = []
  const undo = async ({ name, undo: run }: (typeof undos)[number]) => {
    try {
      await run()
    } catch (thrown) {
      log.error("plugin could not undo", { plugin: name, error: errorText(thrown) })
    }
  }
  const stop = async () => {
    stopping.abort()
    for (let each = undos.pop(); each; each = undos.pop()) await undo(each)
  }

  const wired: Wired<R>[] = []
  try {
    for (const loaded of list) {
      const wire = loaded.plugin[role] as ((host: Host) => HooksOf[R]) | undefined
      // Checked even when the plugin has no part in this role: a wrong setting is wrong everywhere.
      const settings = readConfig(loaded, config) as Record<string, unknown>
      if (!wire) continue
      const { name } = loaded.plugin
      const host: Host = {
        config: settings,
        log: log.child({ plugin: name }),
        signal: stopping.signal,
        defer: (run) => {
          // Somebody who registers after the stop is undone at once: nobody would come for it later.
          if (stopping.signal.aborted) void undo({ name, undo: run })
          else undos.push({ name, undo: run })
        },
      }
      const hooksOfPlugin = attempt(loaded, () => wire.call(loaded.plugin, host))
      checkHooks(hooksOfPlugin, role, loaded)
      wired.push({ name, loaded, hooks: hooksOfPlugin })
    }
    checkProviders(role, wired)
    for (const { loaded, hooks: own } of wired) {
      try {
        await own.start?.()
      } catch (thrown) {
        throw failed(loaded, thrown)
      }
    }
  } catch (thrown) {
    await stop()
    throw thrown
  }
  return ask<R>(wired, log, stop)
}

/** `provide…` wants exactly one: two are refused here, none when somebody asks. */
function checkProviders<R extends Role>(role: R, wired: readonly Wired<R>[]): void {
  for (const [hook, kind] of Object.entries(hooks[role])) {
    if (kind !== "provide") continue
    const [first, second] = wired.filter(({ hooks: own }) => own[hook as keyof typeof own] !== undefined)
    if (first && second) throw badPlugin(second.loaded, `${hook} is already provided by plugin "${first.name}"`, hook)
  }
}

function attempt<T>(loaded: LoadedPlugin, run: () => T): T {
  try {
    return run()
  } catch (thrown) {
    throw failed(loaded, thrown)
  }
}

/** The line comes from the stack, as far as it names the plugin's file. */
function failed(loaded: LoadedPlugin, thrown: unknown): Error {
  const stack = thrown instanceof Error ? (thrown.stack ?? "") : ""
  const at = loaded.origin === "built-in" ? -1 : stack.indexOf(`${loaded.origin}:`)
  const line = at < 0 ? undefined : Number.parseInt(stack.slice(at + loaded.origin.length + 1), 10)
  if (loaded.origin === "built-in" && thrown instanceof Error && thrown.name === "AppError") return thrown
  return pluginError(placeOf(loaded, line), errorText(thrown), thrown)
}
