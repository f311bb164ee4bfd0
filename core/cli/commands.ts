import type { CommandDescription } from "./command.ts"
import { agentOptions, configOptions, progressOption, sessionOptions, targetOptions } from "./session-options.ts"

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
    name: "port-forward",
    summary: "Forward ports to what the target can reach, and ports of the target to here",
    options: [
      {
        flags: "-L, --port-mapping, --port-mappings <mapping...>",
        about: "[local:]host:port, reached from the target",
      },
      {
        flags: "-R, --reverse-port-mapping <mapping...>",
        about: "port[:local]: what comes to that port of the target, copied; taken where the configuration says steal",
      },
      ...targetOptions,
      ...agentOptions,
      ...configOptions,
      progressOption,
    ],
    notes:
      "Examples:\n  podside port-forward -t deployment/web -L 5432:db:5432\n  podside port-forward -t pod/web-0 -R 80:8080",
    load: () => import("../client/commands/port-forward.ts"),
  },
  {
    name: "dump",
    summary: "Print a copy of the target's incoming traffic",
    options: [
      { flags: "-p, --ports <port...>", about: "default: every port the target's pod declares" },
      ...sessionOptions,
    ],
    notes: "Example:\n  podside dump -t deployment/web -p 8080",
    load: () => import("../client/commands/dump.ts"),
  },
  {
    name: "ext",
    summary: "Prepare a session for an IDE, as JSON lines",
    hidden: true,
    options: [
      { flags: "-f, --config-file [path]", about: "configuration file; without a path ./mirrord.json" },
      { flags: "-t, --target <path>", about: "KIND/NAME[/container/NAME], label/KEY=VALUE or targetless" },
      { flags: "-e, --executable <path>", about: "the program that is to run in the session" },
      ...agentOptions.filter(({ flags }) => flags.includes("--agent-address")),
    ],
    load: () => import("../client/commands/ext.ts"),
  },
  {
    name: "ls",
    summary: "Print what can be a target, as JSON",
    options: [
      { flags: "-o, --output <form>", about: "json is the only form", choices: ["json"] },
      { flags: "-n, --namespace <namespace>", about: "default: that of the configuration or the kubeconfig" },
      { flags: "-t, --target-type <type...>", about: "pod, deployment, rollout…; several times for several" },
      ...configOptions,
    ],
    load: () => import("../client/commands/ls.ts"),
  },
  {
    name: "doctor",
    summary: "Look for what would keep a session from working, on this machine and in the cluster",
    options: [
      ...targetOptions,
      ...agentOptions.filter(({ flags }) => !flags.includes("--agent-address")),
      ...configOptions,
      { flags: "--json", about: "machine-readable" },
    ],
    load: () => import("../client/commands/doctor.ts"),
  },
  {
    name: "diagnose latency",
    summary: "Measure the way to the operator or, without one, to an agent: a hundred round trips",
    options: [
      ...targetOptions,
      ...agentOptions,
      ...configOptions,
      progressOption,
      { flags: "--json", about: "machine-readable" },
    ],
    load: () => import("../client/commands/diagnose-latency.ts"),
  },
  {
    name: "operator status",
    summary: "Show the cluster's operator and its sessions",
    options: [...configOptions, { flags: "--json", about: "everything it tells, as JSON" }],
    load: () => import("../client/commands/operator-status.ts"),
  },
  {
    name: "operator session stop",
    aliases: ["operator session kill"],
    summary: "End a session of the operator, or all of them",
    options: [
      { flags: "-i, --id <hex>", about: "the session, as `operator status` shows it" },
      { flags: "--all", about: "all sessions" },
      ...configOptions,
    ],
    load: () => import("../client/commands/operator-session.ts"),
  },
  {
    name: "operator session retain-active",
    summary: "End every session of the operator nobody is connected to",
    options: configOptions,
    load: () => import("../client/commands/operator-session-retain-active.ts"),
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
    load: async () => (await import("./completions.ts")).completionsOf(commands),
  },
]
