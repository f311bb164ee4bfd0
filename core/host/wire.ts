import { AppError, errorText } from "../errors.ts"
import type { Host } from "../plugin.ts"
import { checkHooks, type LoadedPlugin, placeOf, pluginError } from "./check.ts"
import type { HooksOf, Role } from "./hooks.ts"
import type { Scope } from "./scope.ts"

/** Calls a plugin's role function and checks what it gives; undefined when it has no part in this role. @throws AppError "bad-plugin" */
export function wire<R extends Role>(
  loaded: LoadedPlugin,
  role: R,
  settings: unknown,
  scope: Scope,
): HooksOf[R] | undefined {
  const { plugin } = loaded
  const build = plugin[role] as ((host: Host) => HooksOf[R]) | undefined
  if (!build) return undefined
  let built: HooksOf[R]
  try {
    built = build.call(plugin, scope.hostFor(plugin.name, settings))
  } catch (thrown) {
    throw pluginFailure(loaded, thrown)
  }
  checkHooks(built, role, loaded)
  return built
}

/** Names the plugin, and its line where the stack shows one. An AppError of podside's own plugins says enough by itself. */
export function pluginFailure(loaded: LoadedPlugin, thrown: unknown): AppError {
  if (loaded.origin === "built-in" && thrown instanceof AppError) return thrown
  return pluginError(placeOf(loaded, lineInStack(loaded.path, thrown)), errorText(thrown), thrown)
}

/** 1-based line of the first place on the stack that lies in `path`. */
export function lineInStack(path: string | undefined, thrown: unknown): number | undefined {
  const stack = thrown instanceof Error ? (thrown.stack ?? "") : ""
  const at = path === undefined ? -1 : stack.indexOf(`${path}:`)
  return at < 0 ? undefined : Number.parseInt(stack.slice(at + (path as string).length + 1), 10)
}
