import { ask, type Plugins, type Wired } from "./host/ask.ts"
import { badPlugin, checkOrder, type LoadedPlugin } from "./host/check.ts"
import { checkConfigNames, type PluginConfigs, readConfig } from "./host/config.ts"
import { hooks, type Role } from "./host/hooks.ts"
import { createScope } from "./host/scope.ts"
import { pluginFailure, wire } from "./host/wire.ts"
import type { Logger } from "./log.ts"
import type { Cluster } from "./plugin.ts"

export { type Denied, type Plugins, policyName, type Verdict } from "./host/ask.ts"
export type { LoadedPlugin } from "./host/check.ts"
export type { PluginConfigs } from "./host/config.ts"
export type { Role } from "./host/hooks.ts"

export interface StartOptions {
  log: Logger
  /** Settings the role found for its plugins; those of `--plugin-config` win, plugin by plugin and key by key. */
  config?: PluginConfigs
  /** Of the operator: what its plugins have of the cluster, until the signal is aborted. */
  cluster?(signal: AbortSignal): Cluster
}

/**
 * Wires every plugin that has this role, in list order, then starts them in the same order. Whatever fails, everything
 * already done is undone before the error is thrown.
 * @throws AppError "bad-plugin", "bad-plugin-config"; other AppErrors of a built-in plugin pass through
 */
export async function startPlugins<R extends Role>(
  role: R,
  list: readonly LoadedPlugin[],
  { log, config = {}, cluster }: StartOptions,
): Promise<Plugins<R>> {
  checkOrder(list)
  checkConfigNames(config, list)
  // Checked even for plugins with no part in this role, and before any of them does anything.
  const settings = list.map((loaded) => readConfig(loaded, config))
  const scope = createScope(log, cluster)
  try {
    const wired: Wired<R>[] = []
    for (const [index, loaded] of list.entries()) {
      const own = wire(loaded, role, settings[index], scope)
      if (own) wired.push({ name: loaded.plugin.name, loaded, hooks: own })
    }
    checkProviders(role, wired)
    for (const { loaded, hooks: own } of wired) {
      try {
        await own.start?.()
      } catch (thrown) {
        throw pluginFailure(loaded, thrown)
      }
    }
    return ask<R>(wired, log, scope.stop)
  } catch (thrown) {
    await scope.stop()
    throw thrown
  }
}

/** `provide…` wants exactly one: two are refused here, none when somebody asks. */
function checkProviders<R extends Role>(role: R, wired: readonly Wired<R>[]): void {
  for (const [hook, kind] of Object.entries(hooks[role])) {
    if (kind !== "provide") continue
    const [first, second] = wired.filter(({ hooks: own }) => own[hook as keyof typeof own] !== undefined)
    if (first && second) throw badPlugin(second.loaded, `${hook} is already provided by plugin "${first.name}"`, hook)
  }
}
