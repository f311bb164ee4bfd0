import { listOption, type RunCommand } from "../../cli/command.ts"
import { AppError } from "../../errors.ts"
import { KubeError } from "../../kube/errors.ts"
import { type Kube, openKube } from "../../kube/kube.ts"
import type { Workload } from "../../kube/objects.ts"
import { resources } from "../../kube/resources.ts"
import type { TargetKind } from "../../target.ts"
import { reportingJson } from "../error-report.ts"
import { loadForCommand } from "../load.ts"
import { findOperator } from "../session/operator/find.ts"
import { kubeOptions } from "../settings.ts"
import { targetPaths } from "../target-paths.ts"

const withoutOperator: readonly TargetKind[] = ["pod", "deployment", "rollout"]
/** Jobs and cronjobs are used as copies of theirs, which podside cannot do; who asks for them by type sees them all the same. */
const withOperator: readonly TargetKind[] = ["deployment", "rollout", "statefulset", "service", "replicaset", "pod"]

/** Prints target paths as JSON, in the form IDE plugins read. */
export const run: RunCommand = reportingJson(async ({ options }) => {
  const { config } = await loadForCommand(options)
  const kube = openKube(kubeOptions(config))
  const operator = config.operator === false ? undefined : await findOperator(kube, config)
  if (config.operator === true && !operator)
    throw new AppError("operator-missing", "The configuration wants the operator, and the cluster has none", {
      next: "Ask the cluster's owner to install it, or leave out `operator: true`.",
    })
  const namespace = config.target.namespace ?? kube.namespace
  const rich = process.env["MIRRORD_LS_RICH_OUTPUT"] === "true"
  const wanted = wantedTypes(listOption(options, "targetType"))
  const kinds = wanted ?? (operator && !rich ? withOperator : withoutOperator)
  const beyond = kinds.find((kind) => !withoutOperator.includes(kind))
  if (!operator && beyond) {
    throw new AppError(
      "operator-needed",
      `Targets of type ${beyond} can only be used with an operator, and there is none`,
      {
        next: `Ask for ${withoutOperator.join(", ")}.`,
      },
    )
  }
  const unready = config.feature.copy_target.enabled
  const paths = (await Promise.all(kinds.map((kind) => targetPaths(kube, kind, namespace, unready)))).flat()
  const answer = rich
    ? {
        targets: paths.map((path) => ({ path, available: true })),
        current_namespace: namespace,
        namespaces: await namespaces(kube, namespace),
      }
    : paths
  process.stdout.write(`${JSON.stringify(answer)}\n`)
  return 0
})

function wantedTypes(given: readonly string[]): TargetKind[] | undefined {
  const fromEnvironment = process.env["MIRRORD_LS_TARGET_TYPES"]
  const names = given.length > 0 ? given : fromEnvironment ? readList(fromEnvironment) : undefined
  return names?.map((name) => {
    if (Object.hasOwn(resources, name)) return name as TargetKind
    throw new AppError("bad-target-type", `"${name}" is no type of target that can be listed`, {
      next: `Types are ${Object.keys(resources).join(", ")}.`,
      exitCode: 2,
    })
  })
}

function readList(text: string): string[] {
  try {
    const list: unknown = JSON.parse(text)
    if (Array.isArray(list) && list.every((item) => typeof item === "string")) return list
  } catch {
    // Told below.
  }
  throw new AppError("bad-target-type", "MIRRORD_LS_TARGET_TYPES is not a JSON list of texts", {
    next: 'Write it as ["deployment","pod"].',
    exitCode: 2,
  })
}

async function namespaces(kube: Kube, own: string): Promise<{ name: string }[]> {
  try {
    const all = await kube.list<Workload>("/api/v1/namespaces", { what: "list namespaces" })
    return all.map(({ metadata }) => ({ name: metadata.name }))
  } catch (thrown) {
    if (thrown instanceof KubeError) return [{ name: own }]
    throw thrown
  }
}
