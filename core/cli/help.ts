import type { CommandDescription } from "./command.ts"
import { type ParsedOption, parseOption } from "./options.ts"

/** Options that stand before the command. */
export const leadingOptions = [
  {
    flags: "--mode <role>",
    about: "operator, agent or client (default)",
    env: "PODSIDE_MODE",
    choices: ["operator", "agent", "client"],
  },
  { flags: "--plugins <dir>", about: "load the .ts and .js plugins of this folder too", env: "PODSIDE_PLUGINS" },
  { flags: "--plugin-config <file>", about: "YAML or JSON: plugin name to its settings", env: "PODSIDE_PLUGIN_CONFIG" },
  { flags: "-h, --help", about: "show help; also behind any command" },
  { flags: "-V, --version", about: "show the version" },
] as const

export const helpOption = { flags: "-h, --help", about: "show this help" } as const

/** The page of `podside --help`, or of a group such as `podside operator --help`. */
export function overview(commands: readonly CommandDescription[], group?: string): string {
  const shown = commands.filter((command) => !command.hidden && (!group || command.name.startsWith(`${group} `)))
  const rows = shown.map(
    (command) => [[command.name, command.args].filter(Boolean).join(" "), command.summary] as const,
  )
  const program = group ? `podside ${group}` : "podside"
  const parts = [`Usage: ${program} ${group ? "<command>" : "[options] <command>"}`]
  if (!group)
    parts.push("Lets a process on your machine live inside a Kubernetes pod, with the cluster's owner in charge.")
  parts.push(section("Commands", rows))
  if (!group) {
    parts.push(
      section(
        "Options",
        leadingOptions.map((option) => optionRow(parseOption(option))),
      ),
    )
    parts.push("Exit codes: 0 success, 1 failure, 2 command line not understood; exec gives the program's own.")
  }
  return `${parts.join("\n\n")}\n`
}

/** The page of one command. */
export function commandHelp(command: CommandDescription): string {
  const words = ["Usage: podside", command.name, command.options?.length ? "[options]" : "", command.args ?? ""]
  const parts = [words.filter(Boolean).join(" "), `${command.summary}.`]
  if (command.aliases?.length) parts.push(`Also: ${command.aliases.map((alias) => `podside ${alias}`).join(", ")}`)
  const options = [...(command.options ?? []).filter((option) => !option.hidden), helpOption]
  parts.push(
    section(
      "Options",
      options.map((option) => optionRow(parseOption(option))),
    ),
  )
  if (command.notes) parts.push(command.notes.trim())
  return `${parts.join("\n\n")}\n`
}

function optionRow({ description }: ParsedOption): readonly [string, string] {
  const details = [
    description.choices && !description.about.includes(description.choices[0] as string)
      ? `one of ${description.choices.join(", ")}`
      : "",
    description.env ? `$${description.env}` : "",
  ].filter(Boolean)
  const shortless = description.flags.startsWith("--") ? `    ${description.flags}` : description.flags
  return [shortless, details.length ? `${description.about} [${details.join("; ")}]` : description.about]
}

function section(title: string, rows: readonly (readonly [string, string])[]): string {
  const width = Math.min(36, Math.max(0, ...rows.map(([left]) => left.length)))
  const lines = rows.map(([left, right]) =>
    left.length > width ? `  ${left}\n  ${" ".repeat(width)}  ${right}` : `  ${left.padEnd(width)}  ${right}`,
  )
  return `${title}:\n${lines.join("\n")}`
}
