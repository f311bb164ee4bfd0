import { silentLogger } from "../log.ts"
import { checkOrder, type LoadedPlugin } from "./check.ts"
import { checkConfigNames, type PluginConfigs, readConfig } from "./config.ts"
import type { Role } from "./hooks.ts"
import { createScope } from "./scope.ts"
import { wire } from "./wire.ts"

/** What the host knows of a plugin without starting it. */
export interface PluginSummary {
  name: string
  /** "built-in" or the file. */
  origin: string
  needs: readonly string[]
  hooks: Partial<Record<Role, readonly string[]>>
  /** In force: given settings and defaults. */
  config: unknown
}

const roles: readonly Role[] = ["operator", "agent", "client"]

/**
 * Everything boot checks, for all roles, without any `start`.
 * @throws AppError "bad-plugin", "bad-plugin-config"
 */
export async function inspectPlugins(list: readonly LoadedPlugin[], configs: PluginConfigs): Promise<PluginSummary[]> {
  checkOrder(list)
  checkConfigNames(configs, list)
  const scope = createScope(silentLogger)
  try {
    return list.map((loaded) => {
      const config = readConfig(loaded, configs)
      const hooks: PluginSummary["hooks"] = {}
      for (const role of roles) {
        const own = wire(loaded, role, config, scope)
        if (own) hooks[role] = Object.keys(own)
      }
      const { name, needs = [] } = loaded.plugin
      return { name, origin: loaded.origin, needs, hooks, config }
    })
  } finally {
    await scope.stop()
  }
}
