import { operatorVariables, readOperatorSettings } from "../../config/operator.ts"
import { AppError } from "../errors.ts"
import { openKube } from "../kube/kube.ts"
import { createLogger } from "../log.ts"
import type { RunRole } from "../role.ts"
import { untilStopped } from "../stop-signals.ts"
import { pluginCluster } from "./plugin-cluster.ts"
import { startOperator } from "./start.ts"

const help = () => `Usage: podside --mode operator

Runs the operator, in the pod that "podside operator setup" or the chart makes. Its settings are environment variables, which those
write; what stands behind "=" is the default:

${Object.entries(operatorVariables)
  .map(([name, otherwise]) => `  ${name}${otherwise === undefined ? "" : `=${otherwise}`}`)
  .join("\n")}
`

/** The role `operator`: settings from the environment, Kubernetes from the pod it runs in or a kubeconfig. */
export const run: RunRole = async (argv, context) => {
  if (argv[0] === "--help" || argv[0] === "-h") {
    process.stdout.write(help())
    return 0
  }
  if (argv.length > 0) {
    throw new AppError("bad-arguments", `The operator takes no arguments, but was given "${argv[0]}"`, {
      next: 'Its settings are environment variables: see "podside --mode operator --help".',
      exitCode: 2,
    })
  }
  const settings = readOperatorSettings(process.env)
  const format = settings.jsonLog ? "json" : "text"
  const own = settings.clusterName ? { cluster: settings.clusterName } : {}
  const log = createLogger({ format, level: settings.logLevel }).child(own)
  // Who wants less to read does not mean to lose the record of who used what.
  const auditLog = createLogger({ format, level: "info" }).child(own)
  const stop = context.stopOnSignals()
  const kube = openKube()
  const plugins = await context.startPlugins("operator", { log, cluster: pluginCluster(kube, log) })
  try {
    const running = await startOperator({ settings, kube, plugins, log, auditLog })
    log.info("operator ready", { address: `${running.host}:${running.port}` })
    await untilStopped(stop)
    log.info("operator stopping")
    await running.stop()
  } finally {
    await plugins.stop()
  }
  return 0
}
