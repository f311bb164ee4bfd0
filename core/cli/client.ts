import { AppError } from "../errors.ts"
import { suggestion } from "../nearest.ts"
import type { RoleContext } from "../role.ts"
import type { CommandDescription } from "./command.ts"
import { commandHelp, helpOption, leadingOptions, overview } from "./help.ts"
import { missingCommands } from "./missing-commands.ts"
import { parseOption } from "./options.ts"
import { parseWords, usage } from "./parse.ts"

const leadingNames = leadingOptions.flatMap((option) => parseOption(option).names)

/** Runs one command of the client; `words` begin with the command's name. Resolves with the exit code. */
export async function runCommand(
  words: readonly string[],
  commands: readonly CommandDescription[],
  context: RoleContext,
): Promise<number> {
  // `help exec` as `exec --help`: clap's programs, mirrord's among them, know both.
  if (words[0] === "help" && !words.slice(1).some((word) => word.startsWith("-")))
    return runCommand([...words.slice(1), "--help"], commands, context)
  const found = findCommand(words, commands)
  if ("overview" in found) {
    process.stdout.write(overview(commands, found.overview))
    return 0
  }
  const { command, rest } = found
  const options = [...(command.options ?? []), helpOption].map(parseOption)
  const grammar = {
    options,
    args: command.args ?? "",
    passThrough: command.passThrough,
    program: `podside ${command.name}`,
    before: leadingNames,
  }
  if (wantsHelp(rest, grammar)) {
    process.stdout.write(commandHelp(command))
    return 0
  }
  const input = parseWords(rest, grammar, process.env)
  const { run } = await command.load()
  return run(input, context)
}

/** `--help` counts where an option may stand, and wins over everything that is wrong with the rest. */
function wantsHelp(words: readonly string[], grammar: Parameters<typeof parseWords>[1]): boolean {
  const end = words.indexOf("--")
  const candidates = words.slice(0, end < 0 ? words.length : end)
  if (!candidates.some((word) => word === "-h" || word === "--help")) return false
  if (!grammar.passThrough) return true
  try {
    return parseWords(words, { ...grammar, args: undefined }).options["help"] === true
  } catch {
    return true
  }
}

type Found = { command: CommandDescription; rest: readonly string[] } | { overview: string | undefined }

/** The command with the most words that match; a group's name alone means its overview. */
function findCommand(words: readonly string[], commands: readonly CommandDescription[]): Found {
  for (let count = Math.min(3, words.length); count > 0; count--) {
    const name = words.slice(0, count).join(" ")
    const command = commands.find((each) => each.name === name || each.aliases?.includes(name))
    if (command) return { command, rest: words.slice(count) }
  }
  const isGroup = (name: string) => commands.some((command) => command.name.startsWith(`${name} `))
  let depth = 0
  while (depth < words.length && isGroup(words.slice(0, depth + 1).join(" "))) depth++
  const group = depth ? words.slice(0, depth).join(" ") : undefined
  const next = words[depth]
  if (next === undefined || next === "-h" || next === "--help") return { overview: group }
  const program = group ? `podside ${group}` : "podside"
  if (next.startsWith("-")) throw usage(`Unknown option "${next}"`, { program }, suggestion(next, leadingNames))
  const instead = group ? undefined : missingCommands.get(next)
  if (instead)
    throw new AppError("command-missing", `podside does not have mirrord's "${next}"`, { next: instead, exitCode: 2 })
  const names = commands
    .filter((command) => !command.hidden && (!group || command.name.startsWith(`${group} `)))
    .map((command) => command.name.split(" ")[depth] as string)
  throw usage(`Unknown command "${next}"`, { program }, suggestion(next, names))
}
