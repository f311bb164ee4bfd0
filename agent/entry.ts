import { createLogger } from "../core/log.ts"
import type { RunRole } from "../core/role.ts"
import { runAgent } from "./agent.ts"
import { type AgentOptions, agentUsage, readCommandLine } from "./command-line.ts"
import { type AgentSettings, logFormat, readSettings } from "./settings.ts"

/** The agent role. Exit codes: 0 done, 1 failed, 2 bad command line, 99 another agent's firewall rules are in the way. */
export const run: RunRole = async (argv, context) => {
  const options = readCommandLine(argv)
  if (!options) {
    process.stdout.write(agentUsage)
    return 0
  }
  const settings = settingsOf(options)
  const log = createLogger({ format: settings.jsonLog ? "json" : "text", level: settings.logLevel })
  const plugins = await context.startPlugins("agent", { log })
  try {
    return await runAgent({
      options,
      settings,
      log,
      signal: context.stopOnSignals(),
      async interceptor() {
        return plugins.has("provideInterceptor") ? plugins.provide("provideInterceptor") : undefined
      },
      print: (line) => void process.stdout.write(`${line}\n`),
    })
  } finally {
    await plugins.stop()
  }
}

/** Options win over the variables that mean the same. */
function settingsOf(options: AgentOptions): AgentSettings {
  const settings = readSettings(process.env, createLogger({ format: logFormat(process.env) }))
  return {
    ...settings,
    metricsAddress: options.metricsAddress ?? settings.metricsAddress,
    operatorCertificate: options.operatorCertificate ?? settings.operatorCertificate,
    cleanRulesOnStart: options.cleanRulesOnStart ?? settings.cleanRulesOnStart,
    inServiceMesh: options.inServiceMesh ?? settings.inServiceMesh,
  }
}
