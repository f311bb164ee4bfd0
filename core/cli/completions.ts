import { AppError } from "../errors.ts"
import type { CommandDescription, RunCommand } from "./command.ts"
import { helpOption, leadingOptions } from "./help.ts"
import { type ParsedOption, parseOption } from "./options.ts"
import { usageExitCode } from "./parse.ts"

const writers: Readonly<Record<string, (entries: readonly Entry[]) => string>> = { bash, zsh, fish }

interface Entry {
  words: string
  summary: string
  options: readonly ParsedOption[]
}

/** The command that prints the script of its first argument's shell, for all of `commands`. */
export function completionsOf(commands: readonly CommandDescription[]): { run: RunCommand } {
  return {
    async run({ args }) {
      const write = Object.hasOwn(writers, args[0] as string) ? writers[args[0] as string] : undefined
      if (!write) {
        const next = `Shells are ${Object.keys(writers).join(", ")}.`
        throw new AppError("usage", `No completions for "${args[0]}"`, { next, exitCode: usageExitCode })
      }
      process.stdout.write(write(entriesOf(commands)))
      return 0
    },
  }
}

export function entriesOf(list: readonly CommandDescription[]): Entry[] {
  return list
    .filter((command) => !command.hidden)
    .map(({ name, summary, options = [] }) => ({
      words: name,
      summary,
      options: [...options.filter((option) => !option.hidden), helpOption].map(parseOption),
    }))
}

const leading = leadingOptions.map(parseOption)
const namesOf = (options: readonly ParsedOption[]) => options.flatMap((option) => option.names).join(" ")

/** Words that may follow each beginning: "" gives the commands and groups, "operator" its commands. */
function nextWords(entries: readonly Entry[]): Map<string, Set<string>> {
  const next = new Map<string, Set<string>>()
  for (const { words } of entries) {
    const parts = words.split(" ")
    parts.forEach((part, depth) => {
      const before = parts.slice(0, depth).join(" ")
      next.set(before, (next.get(before) ?? new Set()).add(part))
    })
  }
  return next
}

function bash(entries: readonly Entry[]): string {
  const cases = [...nextWords(entries)].map(([before, after]) => `    "${before}") reply="${[...after].join(" ")}" ;;`)
  const options = entries.map(({ words, options }) => `    "${words}") reply="${namesOf(options)}" ;;`)
  return `# podside completions for bash
_podside() {
  local current="\${COMP_WORDS[COMP_CWORD]}" before="" word reply=""
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    [[ $word == -- ]] && { COMPREPLY=(); compopt -o default; return; }
    [[ $word == -* ]] || before="\${before:+$before }$word"
  done
  if [[ $current == -* ]]; then
    case "$before" in
    "") reply="${namesOf(leading)}" ;;
${options.join("\n")}
    esac
  else
    case "$before" in
${cases.join("\n")}
    esac
  fi
  COMPREPLY=($(compgen -W "$reply" -- "$current"))
  [[ \${#COMPREPLY[@]} -eq 0 ]] && compopt -o default
}
complete -F _podside podside
`
}

function zsh(entries: readonly Entry[]): string {
  const quote = (text: string) => text.replaceAll("'", "'\\''").replaceAll(":", "\\:")
  const summaryOf = (words: string) => entries.find((entry) => entry.words === words)?.summary ?? "commands"
  const cases = [...nextWords(entries)].map(([before, after]) => {
    const rows = [...after].map((word) => `'${word}:${quote(summaryOf(before ? `${before} ${word}` : word))}'`)
    return `    '${before}') choices=(${rows.join(" ")}) ;;`
  })
  const row = (option: ParsedOption) =>
    option.names.map((name) => `'${name}:${quote(option.description.about)}'`).join(" ")
  const options = entries.map(({ words, options }) => `    '${words}') choices=(${options.map(row).join(" ")}) ;;`)
  return `#compdef podside
_podside() {
  local before="" word
  local -a choices
  for word in "\${(@)words[2,CURRENT-1]}"; do
    [[ $word == -- ]] && { _normal; return }
    [[ $word == -* ]] || before="\${before:+$before }$word"
  done
  if [[ $PREFIX == -* ]]; then
    case "$before" in
    '') choices=(${leading.map(row).join(" ")}) ;;
${options.join("\n")}
    esac
  else
    case "$before" in
${cases.join("\n")}
    esac
  fi
  if (( \${#choices} )); then _describe 'podside' choices; else _files; fi
}
if [[ $funcstack[1] == _podside ]]; then _podside "$@"; else compdef _podside podside; fi
`
}

function fish(entries: readonly Entry[]): string {
  const quote = (text: string) => `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`
  const flags = (option: ParsedOption) =>
    option.names.map((name) => (name.startsWith("--") ? `-l ${name.slice(2)}` : `-s ${name.slice(1)}`)).join(" ")
  const optionLines = (before: string, options: readonly ParsedOption[]) =>
    options.map((option) => {
      const value = option.value === "required" ? " -r" : ""
      return `complete -c podside -n "__podside_at ${before}" ${flags(option)}${value} -d ${quote(option.description.about)}`
    })
  const lines = [...nextWords(entries)].flatMap(([before, after]) =>
    [...after].map((word) => {
      const words = before ? `${before} ${word}` : word
      const summary = entries.find((entry) => entry.words === words)?.summary ?? "commands"
      return `complete -c podside -f -n "__podside_at ${before}" -a ${word} -d ${quote(summary)}`
    }),
  )
  return `# podside completions for fish
function __podside_at
  set -l before
  for word in (commandline -opc)[2..]
    string match -q -- '-*' $word; or set -a before $word
  end
  test "$before" = "$argv"
end
${[...lines, ...optionLines("", leading), ...entries.flatMap(({ words, options }) => optionLines(words, options))].join("\n")}
`
}
