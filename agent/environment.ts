import { readFileSync } from "node:fs"
import { errorText } from "../core/errors.ts"
import { readEnvironmentMemory } from "../core/linux/process-memory.ts"
import type { Logger } from "../core/log.ts"
import type { GetEnvVarsRequest } from "../core/protocol/index.ts"
import { matchesWildcard } from "../core/wildcard.ts"
import type { AgentContext, AgentFeature } from "./feature.ts"

/**
 * Variables that never leave the target, because they describe the machine it runs on rather than what it does; they win
 * over an explicit wish. Source: mirrord's agent, kept the same so that programs see the same environment.
 */
const withheld = new Set(
  [
    "HOME HOMEPATH PATH PWD",
    "CATALINA_HOME CLASSPATH JAVA_EXE JAVA_HOME JAVA_TOOL_OPTIONS _JAVA_OPTIONS",
    "DOTNET_EnableDiagnostics DOTNET_STARTUP_HOOKS",
    "GOPATH GOMODCACHE PYTHONPATH GEM_HOME GEM_PATH RUBYLIB RUBYOPT",
    "BUNDLER_VERSION BUNDLE_APP_CONFIG BUNDLE_BIN_PATH BUNDLE_FORCE_RUBY_PLATFORM BUNDLE_GEMFILE BUNDLE_GEM_PATH",
    "BUNDLE_PATH BUNDLE_WITHOUT BUNDLER_ORIG_BUNDLER_ORIG_MANPATH BUNDLER_ORIG_BUNDLER_VERSION",
    "BUNDLER_ORIG_BUNDLE_BIN_PATH BUNDLER_ORIG_BUNDLE_GEMFILE BUNDLER_ORIG_GEM_HOME BUNDLER_ORIG_MANPATH",
    "BUNDLER_ORIG_PATH BUNDLER_ORIG_RB_USER_INSTALL BUNDLER_ORIG_RUBYLIB BUNDLER_ORIG_RUBYOPT",
    "MIRRORD_LOG RUST_LOG",
  ].flatMap((line) => line.split(" ")),
)

/**
 * The target's environment, as it was when the agent started: what its container was given, overlaid with what its process has.
 * Programs may write over the latter, the former is not always known.
 */
export function createEnvironment({ surroundings, log }: AgentContext): AgentFeature {
  const ofProcess = readOrReport(surroundings.environmentOf, log)
  const variables = surroundings.baseEnvironment.then((base) => new Map([...base, ...ofProcess]))
  return {
    kinds: ["GetEnvVarsRequest"],
    serve: (client) => ({
      handle(message) {
        if (message.kind !== "GetEnvVarsRequest") return
        variables
          .then((all) => selectVariables(all, message.value))
          .then((value) => client.send({ kind: "GetEnvVarsResponse", value: { kind: "Ok", value } }))
          .catch((thrown) => client.end(errorText(thrown)))
      },
      close() {},
    }),
  }
}

function readOrReport(process: number | "self", log: Logger): Map<string, string> {
  try {
    return readEnvironment(process)
  } catch (thrown) {
    log.error("environment of the target cannot be read", { error: errorText(thrown) })
    return new Map()
  }
}

/** The environment a process was started with. @throws when it cannot be read or is not UTF-8 */
function readEnvironment(process: number | "self"): Map<string, string> {
  const text = new TextDecoder("utf-8", { fatal: true }).decode(environmentBytes(process))
  const entries = text.split("\0").filter((entry) => entry.includes("="))
  return new Map(entries.map((entry) => [entry.slice(0, entry.indexOf("=")), entry.slice(entry.indexOf("=") + 1)]))
}

function environmentBytes(process: number | "self"): Uint8Array {
  try {
    return readFileSync(`/proc/${process}/environ`)
  } catch (thrown) {
    const isDenied = (thrown as { code?: string }).code === "EACCES"
    if (!isDenied || process === "self") throw thrown
    return readEnvironmentMemory(process)
  }
}

/** Those that some pattern of the selection (empty: all) matches and no pattern of the filter does. */
export function selectVariables(
  variables: ReadonlyMap<string, string>,
  { envVarsFilter, envVarsSelect }: GetEnvVarsRequest,
): Map<string, string> {
  const isSelected = matcher(envVarsSelect.length > 0 ? envVarsSelect : ["*"])
  const isFiltered = matcher(envVarsFilter)
  return new Map([...variables].filter(([name]) => isSelected(name) && !isFiltered(name) && !withheld.has(name)))
}

function matcher(patterns: readonly string[]): (name: string) => boolean {
  return (name) => patterns.some((pattern) => matchesWildcard(pattern, name))
}
