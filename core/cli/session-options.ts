import type { OptionDescription } from "./command.ts"

/*
 * Options several commands share. Those with a variable behind them in `session-environment.ts` are written into the
 * environment the configuration is read with, so that they win over the file.
 */

export const configOptions: readonly OptionDescription[] = [
  { flags: "-f, --config-file [path]", about: "configuration file; without a path ./.mirrord/mirrord.json" },
  { flags: "--context <name>", about: "context of the kubeconfig" },
]

export const progressOption: OptionDescription = {
  flags: "--progress <form>",
  about: "how progress is shown: tree, lines, dots, json or off",
  choices: ["tree", "lines", "dots", "json", "off"],
}

export const agentOptions: readonly OptionDescription[] = [
  { flags: "-a, --agent-namespace <namespace>", about: "namespace of the agent" },
  { flags: "-l, --agent-log-level <filter>", about: "what the agent logs" },
  { flags: "-i, --agent-image <image>", about: "image of the agent" },
  { flags: "--agent-ttl <seconds>", about: "how long a finished agent's Job is kept" },
  { flags: "--agent-startup-timeout <seconds>", about: "how long an agent may take to start" },
  { flags: "-e, --ephemeral-container", about: "run the agent inside the target's pod" },
  { flags: "--agent-address <address>", about: "use an agent that runs already: HOST:PORT or unix:PATH" },
]

export const targetOptions: readonly OptionDescription[] = [
  { flags: "-t, --target <path>", about: "KIND/NAME[/container/NAME], label/KEY=VALUE or targetless" },
  { flags: "-n, --target-namespace <namespace>", about: "namespace of the target" },
  { flags: "-c, --accept-invalid-certificates[=bool]", about: "do not verify the API server's certificate" },
  { flags: "--no-telemetry", about: "accepted for mirrord's sake: podside sends none" },
  { flags: "--disable-version-check", about: "accepted for mirrord's sake: podside asks nobody" },
]

export const sessionOptions: readonly OptionDescription[] = [
  ...targetOptions,
  ...agentOptions,
  {
    flags: "--fs-mode <mode>",
    about: "which files are the pod's: those read, those written too, or none but exceptions",
    choices: ["write", "read", "local", "local-with-overrides"],
  },
  { flags: "-x, --override-env-vars-exclude <names>", about: "variables not to fetch, separated by ;" },
  { flags: "-s, --override-env-vars-include <names>", about: "the only variables to fetch, separated by ;" },
  { flags: "--env-file <path>", about: "variables put over the pod's" },
  { flags: "--no-remote-dns", about: "resolve names on this machine" },
  { flags: "--skip-processes <names>", about: "programs to run as without a session, separated by ;" },
  { flags: "--steal", about: "take incoming traffic instead of copying it" },
  { flags: "--no-outgoing", about: "leave outgoing connections to this machine" },
  { flags: "--no-tcp-outgoing", about: "leave outgoing TCP to this machine" },
  { flags: "--no-udp-outgoing", about: "leave outgoing UDP to this machine" },
  { flags: "-k, --key <key>", about: "name of the session" },
  ...configOptions,
  progressOption,
]
