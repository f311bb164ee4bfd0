import * as v from "valibot"
import { adjust } from "./adjust.ts"
import { applyEnvironment, type Environment, hasOverrides } from "./env-overrides.ts"
import { usageNotes } from "./notes.ts"
import { parseConfig } from "./parse/index.ts"
import { ConfigProblems, problemsOf } from "./problems.ts"
import { readConfigText } from "./read-file.ts"
import { type Config, configSchema } from "./schema/index.ts"
import { chooseSessionKey, currentBranch } from "./session-key.ts"
import { unsupportedKeys } from "./supported.ts"
import { render } from "./template/render.ts"
import { verify } from "./verify/index.ts"

export type { Config }

export interface LoadedConfig {
  config: Config
  /** Lines for the user, each to be shown once. */
  warnings: string[]
  /** The session key was made up, not given by the user. */
  keyGenerated: boolean
}

export interface LoadOptions {
  /** Path, or "-" for standard input; absent: `MIRRORD_CONFIG_FILE`, and without it defaults and environment alone. */
  file?: string
  /** Default: that of the process. Variables win over the file. */
  environment?: Environment
  /** The branch of the working directory; default: asks git. Only called when the file is a template that wants it. */
  gitBranch?(): string | undefined
  /** An absent target counts as "targetless" in the checks. Default false. */
  absentIsTargetless?: boolean
}

/** What of a file is wrong may come from what was put over it. */
const overridden = (name: string, environment: Environment) =>
  hasOverrides(environment) ? `${name}, with options and variables over it,` : name

/**
 * Reads, completes and checks a configuration.
 * @throws AppError "config-…"; a ConfigProblems ("config-invalid") lists everything that is wrong with its keys
 */
export async function loadConfig(options: LoadOptions = {}): Promise<LoadedConfig> {
  const environment = options.environment ?? process.env
  const file = options.file ?? environment["MIRRORD_CONFIG_FILE"]
  const text = file === undefined ? "" : await readConfigText(file)
  const name = file === "-" ? "standard input" : file
  const branch = options.gitBranch ?? (() => currentBranch(environment))
  const chosen = await chooseSessionKey(text, name, environment, branch)
  const rendered = name === undefined ? "" : render(text, name, { key: chosen.key, environment, gitBranch: branch })
  const raw = name === undefined ? {} : await parseConfig(rendered, name)
  // A key that only the rendered file shows is still the user's.
  const late = chosen.generated && typeof raw["key"] === "string" && raw["key"] !== ""
  const key = late ? (raw["key"] as string) : chosen.key
  const notes = usageNotes(raw)
  applyEnvironment(raw, environment)
  raw["key"] = key
  const parsed = v.safeParse(configSchema, raw)
  const where = name === undefined ? "The configuration of options and variables" : overridden(name, environment)
  const problems = problemsOf(raw, parsed.issues ?? [])
  if (!parsed.success || problems.length > 0) throw new ConfigProblems(where, problems)
  const config: Config = { ...parsed.output, key }
  const adjusted = adjust(config, environment)
  const { errors, warnings } = verify(config, options.absentIsTargetless ?? false)
  if (errors.length > 0) throw new ConfigProblems(where, errors)
  return {
    config,
    warnings: [...unsupportedKeys(raw), ...notes, ...adjusted, ...warnings],
    keyGenerated: chosen.generated && !late,
  }
}
