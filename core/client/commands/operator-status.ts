import { flagOption, type RunCommand } from "../../cli/command.ts"
import { versionLabel } from "../../cli/version.ts"
import { AppError } from "../../errors.ts"
import { openKube } from "../../kube/kube.ts"
import { loadForCommand } from "../load.ts"
import { findOperator, type OperatorSessionEntry } from "../session/operator/find.ts"
import { kubeOptions } from "../settings.ts"
import { formatTable } from "../table.ts"

/** Shows the cluster's operator, its licence and the sessions it serves. */
export const run: RunCommand = async ({ options }) => {
  const { config } = await loadForCommand(options)
  const kube = openKube(kubeOptions(config))
  const operator = await findOperator(kube, { ...config, operator: true })
  if (!operator) {
    throw new AppError("operator-missing", "The cluster has no operator", {
      next: "Ask the cluster's owner to install it; `podside operator setup` prints what that takes.",
    })
  }
  const { spec, status, metadata } = operator.description
  if (flagOption(options, "json")) {
    process.stdout.write(`${JSON.stringify(operator.description, null, 2)}\n`)
    return 0
  }
  const own = metadata?.labels?.[versionLabel]
  const lines = [
    `Operator version: ${spec.operator_version}${own ? ` (podside ${own})` : ""}`,
    `Default namespace: ${spec.default_namespace}`,
    `License: ${spec.license.name}, ${spec.license.organization}, until ${spec.license.expire_at}`,
  ]
  if (!status)
    throw new AppError("operator-bad-answer", "The operator tells nothing about its sessions", {
      next: "Try again when it has started: `kubectl get pods` in its namespace tells.",
    })
  if (status.statistics) lines.push(`Users: ${status.statistics.dau} today, ${status.statistics.mau} this month`)
  process.stdout.write(`${lines.join("\n")}\n\n${sessionTable(status.sessions)}`)
  return 0
}

export function sessionTable(sessions: readonly OperatorSessionEntry[]): string {
  if (sessions.length === 0) return "No sessions.\n"
  const rows = sessions.map((session) => [
    session.id ?? "N/A",
    session.target,
    session.namespace ?? "N/A",
    session.user,
    (session.locked_ports ?? []).map(portText).join("; ") || "None",
    duration(session.duration_secs),
  ])
  return formatTable(["Session ID", "Target", "Namespace", "User", "Ports", "Session Duration"], rows)
}

type PortLock = NonNullable<OperatorSessionEntry["locked_ports"]>[number]
const portText = ({ port, kind, filter }: PortLock) =>
  `Port: ${port}, Type: ${kind}${filter ? `, Filter: ${filter}` : ""}`

export function duration(seconds: number): string {
  const [hours, minutes] = [Math.floor(seconds / 3_600), Math.floor(seconds / 60) % 60]
  const parts = [hours ? `${hours}h` : "", hours || minutes ? `${minutes}m` : "", `${Math.floor(seconds % 60)}s`]
  return parts.filter(Boolean).join(" ")
}
