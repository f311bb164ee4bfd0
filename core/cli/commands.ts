import type { CommandDescription } from "./command.ts"

/** Every command of the client, in the order of `podside --help`. Loaded at every start: keep code out of here. */
export const commands: readonly CommandDescription[] = [
  {
    name: "completions",
    summary: "Print a completion script for bash, zsh or fish",
    args: "<shell>",
    notes:
      "Examples:\n  source <(podside completions bash)\n  podside completions zsh > ~/.zfunc/_podside\n  podside completions fish | source",
    load: () => import("./completions.ts"),
  },
]
