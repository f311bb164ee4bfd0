import type { CommandDescription } from "./command.ts"
import { sessionOptions } from "./session-options.ts"

/** Every command of the client, in the order of `podside --help`. Loaded at every start: keep code out of here. */
export const commands: readonly CommandDescription[] = [
  {
    name: "exec",
    summary: "Run a program as if it were inside a pod",
    args: "<program> [args...]",
    passThrough: true,
    options: sessionOptions,
    notes:
      "Examples:\n  podside exec --target deployment/web -- npm start\n  podside exec -t pod/db-0 -n shop -- psql\n\nThe exit code is the program's; 1 when the session failed.",
    load: () => import("../client/commands/exec.ts"),
  },
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
    name: "operator setup",
    summary: "Print the Kubernetes objects of the operator, the same the chart installs",
    options: [
      { flags: "-f, --values <file>", about: "values as for the chart, in YAML" },
      { flags: "-n, --namespace <name>", about: "where the operator lives; default mirrord" },
      { flags: "--image <reference>", about: "image of the operator and its agents" },
      { flags: "--replicas <number>", about: "operators that serve at once; default 1" },
    ],
    notes: "Example:\n  podside operator setup --image registry.example/podside:0.1.0 | kubectl apply -f -",
    load: () => import("../client/commands/operator-setup.ts"),
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
