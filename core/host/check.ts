import { AppError } from "../errors.ts"
import { suggestion } from "../nearest.ts"
import type { Plugin } from "../plugin.ts"
import { hooks, type Role } from "./hooks.ts"

/** A plugin with the place it came from. */
export interface LoadedPlugin {
  plugin: Plugin
  /** "built-in", or the file as the user named it. */
  origin: string
  /** Absolute path and text of an outside plugin's file, for line numbers in messages. */
  path?: string
  source?: string
}

const fields = ["name", "needs", "config", "operator", "agent", "client"]
const roles: readonly Role[] = ["operator", "agent", "client"]
const nameShape = /^[a-z][a-z0-9]*(-[a-z0-9]+)*$/

/**
 * Looks at the object itself; nothing of the plugin runs.
 * @throws AppError "bad-plugin"
 */
export function checkShape(exported: unknown, from: Omit<LoadedPlugin, "plugin">): LoadedPlugin {
  const bad = (reason: string, word?: string) => badPlugin(from, reason, word)
  if (typeof exported !== "object" || exported === null || Array.isArray(exported)) {
    throw bad("it has no default export made with definePlugin({ … })")
  }
  const plugin = exported as Record<string, unknown>
  for (const key of Object.keys(plugin)) {
    if (fields.includes(key)) continue
    const hint = suggestion(key, fields)
    throw bad(`unknown field "${key}"${hint ? `. ${hint}` : ""}`, key)
  }
  const { name, needs, config } = plugin
  if (typeof name !== "string" || !nameShape.test(name)) throw bad("its name must be in kebab-case", "name")
  if (needs !== undefined && !(Array.isArray(needs) && needs.every((each) => typeof each === "string"))) {
    throw bad("needs must be a list of plugin names", "needs")
  }
  if (!isStrictObject(config)) throw bad("config must be v.strictObject({ … })", "config")
  for (const role of roles) {
    if (plugin[role] !== undefined && typeof plugin[role] !== "function") {
      throw bad(`${role} must be a function that takes the host and returns hooks`, role)
    }
  }
  return { ...from, plugin: exported as Plugin }
}

/**
 * Names appear once and what a plugin needs stands before it.
 * @throws AppError "bad-plugin"
 */
export function checkOrder(list: readonly LoadedPlugin[]): void {
  const seen = new Map<string, LoadedPlugin>()
  for (const loaded of list) {
    const { name, needs = [] } = loaded.plugin
    const twin = seen.get(name)
    if (twin) throw badPlugin(loaded, `the name "${name}" is taken by the plugin from ${twin.origin}`, name)
    for (const need of needs) {
      if (seen.has(need)) continue
      const later = list.some((each) => each.plugin.name === need)
      throw badPlugin(loaded, `it needs "${need}", which ${later ? "stands later in the list" : "is not there"}`, need)
    }
    seen.set(name, loaded)
  }
}

/** What a role function returned must consist of hooks that exist. @throws AppError "bad-plugin" */
export function checkHooks(returned: unknown, role: Role, loaded: LoadedPlugin): void {
  if (returned instanceof Promise) {
    returned.catch(() => {})
    throw badPlugin(loaded, `${role} must return its hooks at once; work that takes time belongs into start()`, role)
  }
  if (typeof returned !== "object" || returned === null) throw badPlugin(loaded, `${role} returned no hooks`, role)
  for (const [hook, value] of Object.entries(returned)) {
    if (!Object.hasOwn(hooks[role], hook)) {
      const hint = suggestion(hook, Object.keys(hooks[role]))
      throw badPlugin(loaded, `there is no ${role} hook "${hook}"${hint ? `. ${hint}` : ""}`, hook)
    }
    if (value !== undefined && typeof value !== "function") {
      throw badPlugin(loaded, `${role} hook "${hook}" must be a function`, hook)
    }
  }
}

/** Names the plugin's file, and the first line with `word` in it where there is one. */
export function badPlugin(
  from: Pick<LoadedPlugin, "origin" | "source"> & { plugin?: Plugin },
  reason: string,
  word?: string,
) {
  const line = word && from.source ? lineOf(from.source, word) : undefined
  return pluginError(placeOf(from, line), reason)
}

export function placeOf(from: { origin: string; plugin?: Plugin }, line?: number): string {
  if (from.origin === "built-in") return `built-in plugin "${from.plugin?.name}"`
  return line === undefined ? from.origin : `${from.origin}:${line}`
}

export function pluginError(place: string, reason: string, cause?: unknown): AppError {
  return new AppError("bad-plugin", `${place}: ${reason}`, {
    cause,
    next: 'See "podside plugin check FILE" and "podside plugin types".',
  })
}

/** 1-based; undefined when the word does not occur. */
function lineOf(source: string, word: string): number | undefined {
  const at = source
    .split("\n")
    .findIndex((line) => new RegExp(`(?<![\\w-])${RegExp.escape(word)}(?![\\w-])`).test(line))
  return at < 0 ? undefined : at + 1
}

/** Valibot's schemas are plain objects; a pipe keeps the type of its first schema. */
function isStrictObject(config: unknown): boolean {
  const schema = config as { kind?: unknown; type?: unknown } | null | undefined
  return schema?.kind === "schema" && schema.type === "strict_object" && "~run" in schema
}
