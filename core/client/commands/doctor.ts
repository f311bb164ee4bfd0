import { flagOption, type RunCommand } from "../../cli/command.ts"
import { silentLogger } from "../../log.ts"
import { clusterChecks } from "../cluster-checks.ts"
import { examine, formatFindings } from "../doctor.ts"
import { loadForCommand } from "../load.ts"
import { machineChecks } from "../machine-checks.ts"

/** Looks at everything a session needs; exit code 1 when something is in the way. */
export const run: RunCommand = async ({ options }, context) => {
  const { config } = await loadForCommand(options)
  const plugins = await context.startPlugins("client", { log: silentLogger })
  try {
    const engine = plugins.provide("provideEngine")
    const findings = await examine([...machineChecks(engine), ...clusterChecks(config)])
    const text = flagOption(options, "json") ? `${JSON.stringify(findings, null, 2)}\n` : formatFindings(findings)
    process.stdout.write(text)
    return findings.some(({ state }) => state === "problem") ? 1 : 0
  } finally {
    await plugins.stop()
  }
}
