import { readFile, stat } from "node:fs/promises"
import * as v from "valibot"
import { AppError, fileFault } from "../errors.ts"
import { suggestion } from "../nearest.ts"
import type { LoadedPlugin } from "./check.ts"

/** Plugin name to its settings, not checked yet. */
export type PluginConfigs = Readonly<Record<string, unknown>>

/** Settings for a plugin that is not there are a mistake, never ignored. @throws AppError "bad-plugin-config" */
export function checkConfigNames(configs: PluginConfigs, list: readonly LoadedPlugin[]): void {
  const names = list.map(({ plugin }) => plugin.name)
  for (const name of Object.keys(configs)) {
    if (names.includes(name)) continue
    throw badConfig(`There are settings for "${name}", but no such plugin`, suggestion(name, names))
  }
}

/** A plugin's part of the configuration, checked and with its defaults. @throws AppError "bad-plugin-config" */
export function readConfig({ plugin }: LoadedPlugin, configs: PluginConfigs): unknown {
  const given = Object.hasOwn(configs, plugin.name) ? configs[plugin.name] : {}
  if (!isRecord(given)) throw badConfig(`Settings of plugin "${plugin.name}" must be an object`)
  const result = v.safeParse(plugin.config, given)
  if (result.success) return result.output
  const entries = Object.keys((plugin.config as unknown as { entries?: object }).entries ?? {})
  const hints = new Set<string>()
  const problems = result.issues.map((issue) => {
    const path = v.getDotPath(issue) ?? ""
    if (issue.type === "strict_object" && issue.received === "undefined") return `"${path}" is missing`
    if (issue.type !== "strict_object" || issue.expected !== "never") return `${path || "settings"}: ${issue.message}`
    const hint = suggestion(path, entries)
    if (hint) hints.add(hint)
    return `unknown key "${path}"`
  })
  throw badConfig(`Settings of plugin "${plugin.name}" are wrong: ${problems.join("; ")}`, [...hints].join(" "))
}

function badConfig(message: string, hint = ""): AppError {
  const next = `${hint ? `${hint} ` : ""}Settings stand in the file of --plugin-config, in a cluster in the chart's value "plugins"; "podside plugin list" shows them.`
  return new AppError("bad-plugin-config", message, { next })
}

/** A larger file is no configuration, in bytes. */
const maxConfigBytes = 1024 * 1024

/**
 * Reads YAML or JSON: plugin name to settings.
 * @throws AppError "bad-plugin-config"
 */
export async function readConfigFile(file: string): Promise<PluginConfigs> {
  const { parse } = await import("yaml")
  try {
    const { size } = await stat(file)
    if (size > maxConfigBytes) throw new Error(`${size} bytes are more than the ${maxConfigBytes} allowed`)
    const text = new TextDecoder("utf-8", { fatal: true }).decode(await readFile(file))
    // Aliases are refused altogether: settings need none, and they are what YAML bombs are made of.
    const value: unknown = parse(text, { maxAliasCount: 0, prettyErrors: true, uniqueKeys: true })
    if (!isRecord(value ?? {})) throw new Error("it must map plugin names to their settings")
    return (value ?? {}) as PluginConfigs
  } catch (thrown) {
    throw badConfig(`Cannot read ${file}: ${fileFault(thrown)}`)
  }
}

/** Keys of `over` win inside each plugin's settings. */
export function mergeConfigs(base: PluginConfigs, over: PluginConfigs): PluginConfigs {
  const merged: Record<string, unknown> = { ...base }
  for (const [name, settings] of Object.entries(over)) {
    const below = merged[name]
    merged[name] = isRecord(below) && isRecord(settings) ? { ...below, ...settings } : settings
  }
  return merged
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value)
}
