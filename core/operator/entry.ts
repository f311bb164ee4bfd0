import { readOperatorSettings } from "../../config/operator.ts"
import { AppError } from "../errors.ts"
import { openKube } from "../kube/kube.ts"
import { createLogger } from "../log.ts"
import type { RunRole } from "../role.ts"
import { untilStopped } from "../stop-signals.ts"
import { pluginCluster } from "./plugin-cluster.ts"
import { startOperator } from "./start.ts"

/** The role `operator`: settings from the environment, Kubernetes from the pod it runs in or a kubeconfig. */
export const run: RunRole = async (argv, context) => {
  if (argv.length > 0) {
    throw new AppError("bad-arguments", `The operator takes no arguments, but was given "${argv[0]}"`, {
      next: "Set its environment variables; the chart shows them.",
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
