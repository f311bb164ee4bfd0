import { fileShape, targetInFile } from "../../../config/file-shape.ts"
import { type Config, loadConfig } from "../../../config/load.ts"
import { ConfigProblems } from "../../../config/problems.ts"
import { flagOption, type RunCommand } from "../../cli/command.ts"
import { AppError } from "../../errors.ts"

const targetTypes = [
  "targetless",
  "pod",
  "deployment",
  "rollout",
  "job",
  "cronjob",
  "statefulset",
  "service",
  "replicaset",
]
const copyable = ["deployment", "job", "cronjob", "statefulset", "replicaset"]

/** Prints what mirrord's IDE plugins read. With `--ide` a bad file is an answer, not a failure: exit code 0. */
export const run: RunCommand = async ({ args, options }) => {
  const ide = flagOption(options, "ide")
  try {
    const { config, warnings } = await loadConfig({ file: args[0]!, absentIsTargetless: !ide })
    print({
      type: "Success",
      config: { path: targetInFile(config.target.path), namespace: config.target.namespace ?? null },
      warnings: [...warnings, ...notesOf(config)],
      compatible_target_types: compatibleTargets(config),
      ...(flagOption(options, "resolved") ? { resolved_config: fileShape(config) } : {}),
    })
    return 0
  } catch (thrown) {
    if (!(thrown instanceof AppError)) throw thrown
    print({ type: "Fail", errors: thrown instanceof ConfigProblems ? thrown.problems : [thrown.message] })
    return ide ? 0 : thrown.exitCode
  }
}

function compatibleTargets({ feature: { copy_target } }: Config): string[] {
  if (!copy_target.enabled) return targetTypes
  return targetTypes.filter((type) => copyable.includes(type) || (type === "pod" && !copy_target.scale_down))
}

/** What only a session would tell. */
function notesOf({ profile, feature }: Config): string[] {
  return [
    ...(profile === undefined
      ? []
      : [`The profile "${profile}" was not applied; it is read from the cluster when a session starts`]),
    ...(feature.copy_target.enabled
      ? ["No session can start: it needs a copy of the target, and podside makes none yet"]
      : []),
  ]
}

function print(answer: unknown): void {
  process.stdout.write(`${JSON.stringify(answer, null, 2)}\n`)
}
