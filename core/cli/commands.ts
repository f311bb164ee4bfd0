import type { CommandDescription } from "./command.ts"

/** Every command of the client, in the order of `podside --help`. Loaded at every start: keep code out of here. */
export const commands: readonly CommandDescription[] = [
  {
    name: "verify-config",
    summary: "Say what is wrong with a configuration file, as JSON",
    args: "<file>",
    options: [
      { flags: "--ide", about: "a missing target is fine, and a bad file is an answer: exit code 0" },
      { flags: "--resolved", about: "add the whole configuration with its defaults" },
    ],
    load: () => import("../client/commands/verify-config.ts"),
  },
  {
    name: "config schema",
    summary: "Print the JSON Schema of the configuration file, for editors",
    notes: "Example:\n  podside config schema > podside-schema.json",
    load: () => import("../client/commands/config-schema.ts"),
  },
  {
    name: "plugin list",
    summary: "Show the plugins in the order they are asked, with origin, hooks and settings",
    options: [{ flags: "--json", about: "machine-readable" }],
    load: () => import("../client/commands/plugin-list.ts"),
  },
  {
    name: "plugin check",
    summary: "Say what the host thinks of a plugin file, without starting it",
    args: "<file>",
    load: () => import("../client/commands/plugin-check.ts"),
  },
  {
    name: "plugin types",
    summary: "Print the type declarations a plugin's author needs",
    notes: "Example:\n  podside plugin types > podside.d.ts",
    load: () => import("../client/commands/plugin-types.ts"),
  },
  {
    name: "completions",
    summary: "Print a completion script for bash, zsh or fish",
    args: "<shell>",
    notes:
      "Examples:\n  source <(podside completions bash)\n  podside completions zsh > ~/.zfunc/_podside\n  podside completions fish | source",
    load: () => import("./completions.ts"),
  },
]
