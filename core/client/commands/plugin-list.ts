import { flagOption, type RunCommand } from "../../cli/command.ts"
import { inspectPlugins, type PluginSummary } from "../../host/inspect.ts"

export const run: RunCommand = async ({ options }, context) => {
  const plugins = await inspectPlugins(await context.loadPlugins(), await context.loadPluginConfig())
  const text = flagOption(options, "json")
    ? `${JSON.stringify(plugins, null, 2)}\n`
    : plugins.map(describePlugin).join("\n")
  process.stdout.write(text || "No plugins.\n")
  return 0
}

/** A few lines about one plugin, the form `plugin check` prints too. */
export function describePlugin({ name, origin, needs, hooks, config }: PluginSummary, index: number): string {
  const lines = [`${index + 1}. ${name} (${origin})`]
  if (needs.length) lines.push(`   needs: ${needs.join(", ")}`)
  for (const [role, names] of Object.entries(hooks)) lines.push(`   ${role}: ${names.join(", ") || "no hooks"}`)
  lines.push(`   config: ${JSON.stringify(config)}`)
  return `${lines.join("\n")}\n`
}
