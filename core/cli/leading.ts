import { AppError } from "../errors.ts"
import type { Role } from "../host.ts"
import { suggestion } from "../nearest.ts"
import { leadingOptions } from "./help.ts"
import { parseOption } from "./options.ts"
import { parseWords, usageExitCode } from "./parse.ts"

export interface Leading {
  role: Role
  version: boolean
  help: boolean
  pluginFolder?: string
  pluginConfigFile?: string
  /** What the role itself has to read. */
  rest: readonly string[]
}

const roles: readonly Role[] = ["operator", "agent", "client"]

/**
 * Reads the options in front of the command or the role's own options and stops at the first word that is neither.
 * Invoked by the name `mirrord-agent` the program is the agent and every word is the agent's.
 * @throws AppError "usage"
 */
export function readLeading(
  programName: string,
  words: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Leading {
  const isAgent = /(^|\/)mirrord-agent(\.exe)?$/.test(programName)
  const options = leadingOptions.map((option) =>
    parseOption("choices" in option ? { ...option, choices: undefined } : option),
  )
  let end = 0
  while (!isAgent && end < words.length) {
    const name = (words[end] as string).split("=", 1)[0]
    const option = options.find((each) => each.names.includes(name as string))
    // Help and version are asked of the role: the agent and the operator have options of their own.
    if (option?.value !== "required") break
    end += words[end] === name ? 2 : 1
  }
  const grammar = { options, program: "podside" }
  const { options: values } = parseWords(words.slice(0, end), grammar, env)
  const asText = (key: string) => (typeof values[key] === "string" && values[key] !== "" ? values[key] : undefined)
  const role = isAgent ? "agent" : readRole(asText("mode") ?? "client")
  const asked = (...names: string[]) => role === "client" && names.includes(words[end] as string)
  return {
    role,
    version: asked("-V", "--version"),
    help: asked("-h", "--help"),
    pluginFolder: asText("plugins"),
    pluginConfigFile: asText("pluginConfig"),
    rest: words.slice(end),
  }
}

function readRole(text: string): Role {
  const role = roles.find((each) => each === text)
  if (role) return role
  const hint = suggestion(text, roles)
  throw new AppError("usage", `There is no mode "${text}"`, {
    next: `${hint ? `${hint} ` : ""}Modes are operator, agent and client (--mode or PODSIDE_MODE).`,
    exitCode: usageExitCode,
  })
}
