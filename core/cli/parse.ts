import { AppError } from "../errors.ts"
import { suggestion } from "../nearest.ts"
import type { CommandInput, OptionValue } from "./command.ts"
import type { ParsedOption } from "./options.ts"

export interface Grammar {
  options: readonly ParsedOption[]
  /** See `CommandDescription.args`; undefined accepts any number of words unchecked. */
  args?: string
  /** Options end at the first positional word. */
  passThrough?: boolean
  /** For the next step of an error: "podside exec". */
  program: string
  /** Names of options that are known, but not here: they stand before the command. */
  before?: readonly string[]
}

/** Exit code of a command line that cannot be understood. */
export const usageExitCode = 2

/**
 * Reads words the way GNU programs and clap do: `--name value`, `--name=value`, `-n value`, `-nvalue`, `-abc` for flags,
 * `--` ends the options. An option given twice keeps the last value. The environment fills in what is absent.
 * @throws AppError "usage" with exit code 2
 */
export function parseWords(
  words: readonly string[],
  grammar: Grammar,
  env: Readonly<Record<string, string | undefined>> = {},
): CommandInput {
  const byName = new Map(grammar.options.flatMap((option) => option.names.map((name) => [name, option] as const)))
  const values: Record<string, OptionValue | undefined> = {}
  const args: string[] = []
  const put = (option: ParsedOption, value: string | true, from: string) => {
    const checked = typeof value === "string" ? checkChoice(option, value, from, grammar) : value
    if (!option.repeatable || checked === true) values[option.key] = checked
    else values[option.key] = [...((values[option.key] as string[] | undefined) ?? []), checked]
  }

  let index = 0
  /** Takes the value of `option` from `inline` (the text behind "=" or a short name) or from the next word. */
  const take = (option: ParsedOption, name: string, inline: string | undefined) => {
    if (option.value === "none") {
      if (inline !== undefined) throw usage(`"${name}" takes no value`, grammar)
      return put(option, true, name)
    }
    if (inline !== undefined) return put(option, inline, name)
    const next = words[index]
    if (option.value === "required") {
      // A value may begin with "-" (PEM text does), but not be an option: that is a forgotten value.
      if (next === undefined || next === "--" || byName.has(next.split("=", 1)[0] as string))
        throw usage(`"${name}" wants a value: ${name} <${option.valueName}>`, grammar)
      index++
      return put(option, next, name)
    }
    if (option.value === "optional" && next !== undefined && !next.startsWith("-")) {
      index++
      return put(option, next, name)
    }
    return put(option, true, name)
  }

  while (index < words.length) {
    const word = words[index++] as string
    if (word === "--") {
      args.push(...words.slice(index))
      break
    }
    if (word.startsWith("--")) {
      const equals = word.indexOf("=")
      const name = equals < 0 ? word : word.slice(0, equals)
      const option = byName.get(name)
      if (!option) throw unknown(name, byName.keys(), grammar)
      take(option, name, equals < 0 ? undefined : word.slice(equals + 1))
    } else if (word.length > 1 && word.startsWith("-")) {
      takeShort(word)
    } else {
      args.push(word)
      if (grammar.passThrough) {
        args.push(...words.slice(words[index] === "--" ? index + 1 : index))
        break
      }
    }
  }

  /** "-abc": flags up to the first one with a value, which takes what is left. */
  function takeShort(word: string): void {
    for (let at = 1; at < word.length; at++) {
      const name = `-${word[at]}`
      const option = byName.get(name)
      if (!option) throw unknown(name, byName.keys(), grammar)
      const rest = word.slice(at + 1)
      if (option.value === "none") take(option, name, undefined)
      else if (option.value === "equals" && !rest.startsWith("=")) take(option, name, undefined)
      else {
        take(option, name, rest === "" ? undefined : rest.replace(/^=/, ""))
        return
      }
    }
  }

  for (const option of grammar.options) {
    const name = option.description.env
    const text = name === undefined ? undefined : env[name]
    if (values[option.key] !== undefined || name === undefined || text === undefined) continue
    if (option.value !== "none") put(option, text, name)
    else if (text === "true") put(option, true, name)
    else if (text !== "false") throw usage(`${name} must be "true" or "false", not "${text}"`, grammar)
  }
  if (grammar.args !== undefined) checkCount(args, grammar.args, grammar)
  return { args, options: values }
}

export function usage(message: string, grammar: { program: string }, hint?: string): AppError {
  const next = `${hint ? `${hint} ` : ""}See "${grammar.program} --help".`
  return new AppError("usage", message, { next, exitCode: usageExitCode })
}

function unknown(name: string, known: Iterable<string>, grammar: Grammar): AppError {
  if (grammar.before?.includes(name)) {
    const command = grammar.program.replace("podside", `podside ${name} …`)
    return usage(`"${name}" stands before the command`, grammar, `Write "${command}".`)
  }
  return usage(`Unknown option "${name}"`, grammar, name.startsWith("--") ? suggestion(name, known) : undefined)
}

function checkChoice(option: ParsedOption, value: string, from: string, grammar: Grammar): string {
  const { choices } = option.description
  if (!choices || choices.includes(value)) return value
  throw usage(`"${from}" cannot be "${value}": it is one of ${choices.join(", ")}`, grammar, suggestion(value, choices))
}

function checkCount(args: readonly string[], description: string, grammar: Grammar): void {
  const places = description.split(" ").filter(Boolean)
  const missing = places[args.length]
  if (missing?.startsWith("<")) throw usage(`${missing} is missing`, grammar)
  if (args.length > places.length && !places.at(-1)?.includes("...")) {
    throw usage(`Unexpected argument "${args[places.length]}"`, grammar)
  }
}
