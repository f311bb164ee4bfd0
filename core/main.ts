import { runCommand } from "./cli/client.ts"
import { commands } from "./cli/commands.ts"
import { overview } from "./cli/help.ts"
import { type Leading, readLeading } from "./cli/leading.ts"
import { reportError } from "./cli/report.ts"
import { podsideVersion } from "./cli/version.ts"
import type { Role } from "./host.ts"
import type { RoleContext, RunRole } from "./role.ts"
import { createStopSignals } from "./stop-signals.ts"

/*
 * From the command line to a role. Everything behind an `import()` is read from the binary only when it is needed: that
 * keeps `--help` fast and lets a role load only itself. This is the one file that knows plugins/ and agent/.
 */

const roles: Record<Role, () => Promise<{ run: RunRole }>> = {
  operator: () => import("./operator/entry.ts"),
  agent: () => import("../agent/entry.ts"),
  client: async () => ({ run: (words, context) => runCommand(words, commands, context) }),
}

async function main(): Promise<number> {
  // The client's engine starts this binary once more as the process that becomes the program.
  if (process.argv[2] === "__launch") {
    const { runLauncher } = await import("../plugins/interception/client/launch/launcher.ts")
    return runLauncher()
  }
  // The agent starts it once more as the process that removes iptables rules after it.
  if (process.argv[2] === "__rules-guard") {
    const { runGuard } = await import("../plugins/interception/agent/rules-guard.ts")
    await runGuard(process.argv[3] ?? "")
    return 0
  }
  const leading = readLeading(process.argv0, process.argv.slice(2), process.env)
  if (leading.version) {
    process.stdout.write(`podside ${podsideVersion}\n`)
    return 0
  }
  if (leading.help) {
    process.stdout.write(overview(commands))
    return 0
  }
  const { run } = await roles[leading.role]()
  return run(leading.rest, contextOf(leading))
}

function contextOf({ pluginFolder, pluginConfigFile }: Leading): RoleContext {
  const loadPlugins = async () => {
    const { builtInPlugins } = await import("../plugins/index.ts")
    const builtIn = builtInPlugins.map((plugin) => ({ plugin, origin: "built-in" }))
    if (pluginFolder === undefined) return builtIn
    const { loadFolder } = await import("./host/load.ts")
    return [...builtIn, ...(await loadFolder(pluginFolder))]
  }
  const loadPluginConfig = async () => {
    if (pluginConfigFile === undefined) return {}
    const { readConfigFile } = await import("./host/config.ts")
    return readConfigFile(pluginConfigFile)
  }
  return {
    loadPlugins,
    loadPluginConfig,
    async startPlugins(role, options) {
      const { startPlugins } = await import("./host.ts")
      const { mergeConfigs } = await import("./host/config.ts")
      const config = mergeConfigs(options.config ?? {}, await loadPluginConfig())
      return startPlugins(role, await loadPlugins(), { ...options, config })
    },
    ...createStopSignals(),
  }
}

/** How long what is still under way (output on its way out, sockets closing) may hold the process up, in milliseconds. */
const lingerMs = 2000

// Whoever reads from us may leave early (`podside ls | head -1`); that is no fault.
process.stdout.on("error", (error: NodeJS.ErrnoException) =>
  process.exit(error.code === "EPIPE" ? 0 : reportError(error)),
)
process.on("uncaughtException", (thrown) => process.exit(reportError(thrown)))
process.on("unhandledRejection", (thrown) => process.exit(reportError(thrown)))

process.exitCode = await main().catch(reportError)
setTimeout(() => process.exit(), lingerMs).unref()
