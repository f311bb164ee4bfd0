import type { RoleContext } from "../role.ts"

/*
 * A command is described here, without its code: `podside --help`, completions and the parser need only this, and the
 * code behind `load` is read from the binary when the command runs.
 */

export interface OptionDescription {
  /**
   * Names and value in one line, as help prints it:
   *   "-A, --all-namespaces"           a flag
   *   "-t, --target <path>"            a value, in the next word or after "="
   *   "-L, --port-mapping <mapping...>"  may be given several times, one value each
   *   "-f, --config-file [path]"       the value may be left out (then `true`); taken from the next word unless that begins with "-"
   *   "-c, --insecure[=bool]"          the value may be left out; given only with "="
   * Several long names are aliases; the first one names the key, in camelCase: `targetNamespace`.
   */
  flags: string
  about: string
  /** Environment variable that stands in when the option is absent; a flag wants `true` or `false` there. */
  env?: string
  /** The only values accepted. */
  choices?: readonly string[]
  /** Accepted, but not shown. */
  hidden?: boolean
}

export interface CommandDescription {
  /** The words behind the program's name: "exec", "operator session stop". */
  name: string
  aliases?: readonly string[]
  summary: string
  /** Positional words as help shows them: "<program> [args...]"; `<x>` is required, `[x]` is not, "..." takes the rest. Default none. */
  args?: string
  options?: readonly OptionDescription[]
  /** Options end at the first positional word; the rest belongs to somebody else's program. */
  passThrough?: boolean
  hidden?: boolean
  /** Paragraphs for the end of the help text: examples, environment, exit codes. */
  notes?: string
  load(): Promise<{ run: RunCommand }>
}

/** `string` for a value, `true` for a flag or a value left out, `string[]` for a repeatable one. */
export type OptionValue = string | true | string[]
export type OptionValues = Readonly<Record<string, OptionValue | undefined>>

export interface CommandInput {
  args: readonly string[]
  options: OptionValues
}

/** Resolves with the exit code of the program. @throws AppError, printed with its next step; `exitCode` of it is used. */
export type RunCommand = (input: CommandInput, context: RoleContext) => Promise<number>

export function textOption(options: OptionValues, key: string): string | undefined {
  const value = options[key]
  return typeof value === "string" ? value : undefined
}

export function flagOption(options: OptionValues, key: string): boolean {
  return options[key] === true || options[key] === "true"
}

export function listOption(options: OptionValues, key: string): readonly string[] {
  const value = options[key]
  return Array.isArray(value) ? value : []
}
