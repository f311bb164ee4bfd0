import type { OptionValues } from "../cli/command.ts"
import { AppError } from "../errors.ts"

const textVariables: Readonly<Record<string, string>> = {
  target: "MIRRORD_IMPERSONATED_TARGET",
  targetNamespace: "MIRRORD_TARGET_NAMESPACE",
  namespace: "MIRRORD_TARGET_NAMESPACE",
  agentNamespace: "MIRRORD_AGENT_NAMESPACE",
  agentLogLevel: "MIRRORD_AGENT_RUST_LOG",
  agentImage: "MIRRORD_AGENT_IMAGE",
  agentTtl: "MIRRORD_AGENT_TTL",
  agentStartupTimeout: "MIRRORD_AGENT_STARTUP_TIMEOUT",
  overrideEnvVarsExclude: "MIRRORD_OVERRIDE_ENV_VARS_EXCLUDE",
  overrideEnvVarsInclude: "MIRRORD_OVERRIDE_ENV_VARS_INCLUDE",
  skipProcesses: "MIRRORD_SKIP_PROCESSES",
  context: "MIRRORD_KUBE_CONTEXT",
  envFile: "MIRRORD_OVERRIDE_ENV_VARS_FILE",
  key: "MIRRORD_KEY",
}

const flagVariables: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  ephemeralContainer: { MIRRORD_EPHEMERAL_CONTAINER: "true" },
  noRemoteDns: { MIRRORD_REMOTE_DNS: "false" },
  steal: { MIRRORD_AGENT_TCP_STEAL_TRAFFIC: "true" },
  noOutgoing: { MIRRORD_TCP_OUTGOING: "false", MIRRORD_UDP_OUTGOING: "false" },
  noTcpOutgoing: { MIRRORD_TCP_OUTGOING: "false" },
  noUdpOutgoing: { MIRRORD_UDP_OUTGOING: "false" },
  noTelemetry: { MIRRORD_TELEMETRY: "false" },
}

const acceptVariable = "MIRRORD_ACCEPT_INVALID_CERTIFICATES"
const defaultConfigFile = "./.mirrord/mirrord.json"

/** The variables the configuration is to be read with: those of the process, and the options of the command over them. */
export function sessionEnvironment(options: OptionValues, base: NodeJS.ProcessEnv): Record<string, string | undefined> {
  const environment: Record<string, string | undefined> = { ...base }
  for (const [key, name] of Object.entries(textVariables)) {
    const value = options[key]
    if (typeof value === "string") environment[name] = value
  }
  for (const [key, variables] of Object.entries(flagVariables))
    if (options[key] === true) Object.assign(environment, variables)
  const accept = options["acceptInvalidCertificates"]
  if (accept !== undefined) environment[acceptVariable] = accept === true ? "true" : String(accept)
  const mode = options["fsMode"]
  if (typeof mode === "string") environment["MIRRORD_FILE_MODE"] = mode.replaceAll("-", "")
  const file = options["configFile"]
  if (file !== undefined) environment["MIRRORD_CONFIG_FILE"] = file === true ? defaultConfigFile : String(file)
  return environment
}

/** Who gave an option is not told about the variable behind it. */
export function inTermsOfOptions(thrown: unknown, options: OptionValues): unknown {
  if (!(thrown instanceof AppError) || thrown.code !== "config-bad-variable") return thrown
  const given = Object.entries({ ...textVariables, acceptInvalidCertificates: acceptVariable }).filter(
    ([key]) => typeof options[key] === "string",
  )
  for (const [key, variable] of given) {
    const words = `The environment variable ${variable} `
    if (!thrown.message.startsWith(words)) continue
    const option = key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
    return new AppError("usage", `The option --${option} ${thrown.message.slice(words.length)}`, {
      next: "Give it as --help of the command says.",
      exitCode: 2,
    })
  }
  return thrown
}
